// The clients that are measured, each behind the same few words: get, getBuffer, set, incr, mget, lrange,
// smembers, hgetall, pipeline, subscribe, close. Options are the documented ones; the names of rows tell which.
//
// A row is of a kind: `floor` is no client, but what Node's sockets cost anybody; `own` is respool and
// `variant` respool told otherwise; a `peer` is what it is compared to, and an `anchor` is too, but in another
// runtime, so that it is no candidate for the best peer.

import { openBun } from './bun.js'
import { openGlide } from './glide.js'
import { openIoredis } from './ioredis.js'
import { openNodeRedis } from './node-redis.js'
import { openRespool } from './respool.js'

/**
 * Where the server is, for one of the transports.
 * @typedef {{ host?: string, port?: number, path?: string, ca?: string }} Where
 * @typedef {'tcp' | 'unix' | 'tls'} Transport
 *
 * @typedef {object} Row
 * @property {'floor' | 'own' | 'variant' | 'peer' | 'anchor'} kind
 * @property {'bun'} [runtime] runs there, whatever the others run under
 * @property {readonly Transport[]} [without] transports that it does not have
 * @property {readonly string[]} [only] the workloads it is measured on when nobody names it
 * @property {(where: Where, context: Context) => Promise<any>} [open]
 *
 * @typedef {object} Context
 * @property {{ own: string, other: string | undefined }} builds folders of compiled respool
 * @property {string} [channel] the one that will be subscribed to, for who has to know when connecting
 */

const ioredis = (options) => (where) => openIoredis(where, 'ioredis', options)

/** @type {Record<string, Row>} */
export const clients = {
  raw: { kind: 'floor' },
  respool: { kind: 'own', open: (where, { builds }) => openRespool(where, builds.own) },
  'respool-other': {
    kind: 'variant',
    only: [],
    open: (where, { builds }) => openRespool(where, builds.other),
  },
  'respool-resp2': {
    kind: 'variant',
    only: ['get16-c100', 'lrange1000', 'smembers1000', 'hgetall500', 'pubsub'],
    open: (where, { builds }) => openRespool(where, builds.own, { protocol: 2 }),
  },
  ioredis: { kind: 'peer', open: ioredis({}) },
  'ioredis-auto': { kind: 'peer', open: ioredis({ enableAutoPipelining: true }) },
  'node-redis': { kind: 'peer', open: (where) => openNodeRedis(where, {}) },
  'node-redis-notimeout': {
    kind: 'peer',
    open: (where) => openNodeRedis(where, { commandOptions: { timeout: undefined } }),
  },
  iovalkey: { kind: 'peer', open: (where) => openIoredis(where, 'iovalkey', {}) },
  glide: { kind: 'peer', without: ['unix'], open: openGlide },
  bun: { kind: 'anchor', runtime: 'bun', open: openBun },
}
