// The clients that are measured, each behind the same few words: get, getBuffer, set, incr, mget, lrange,
// smembers, hgetall, pipeline, subscribe, close. Options are the documented ones; the names of rows tell which.
//
// A row is of a kind: `floor` is no client, but what Node's sockets cost anybody; `own` is respool's bare connection and
// `variant` respool told otherwise, or through its client; a `peer` is what it is compared to, and an `anchor` is too, but in another
// runtime, so that it is no candidate for the best peer.

import { openBun } from './bun.js'
import { openGlide } from './glide.js'
import { openIoredis } from './ioredis.js'
import { openNodeRedis } from './node-redis.js'
import { openRespool } from './respool.js'
import { openClient } from './respool-client.js'

/**
 * Where the server is, for one of the transports.
 * @typedef {{ host?: string, port?: number, path?: string, ca?: string, sentinel?: object }} Where
 * @typedef {'tcp' | 'unix' | 'tls'} Transport
 *
 * @typedef {object} Row
 * @property {'floor' | 'own' | 'variant' | 'peer' | 'anchor'} kind
 * @property {'bun'} [runtime] runs there, whatever the others run under
 * @property {readonly Transport[]} [without] transports that it does not have
 * @property {boolean} [bySentinel] is told of a sentinel, not of the server
 * @property {readonly string[]} [only] the workloads it is measured on when nobody names it
 * @property {(where: Where, context: Context) => Promise<any>} [open]
 *
 * @typedef {object} Context
 * @property {{ own: string, other: string | undefined }} builds folders of compiled respool
 * @property {string} [channel] the one that will be subscribed to, for who has to know when connecting
 */

const FEW = ['seq-get', 'get16-c100', 'get16-c1000', 'set16-c100', 'mget100']

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
  'respool-client': { kind: 'variant', open: (where, { builds }) => openClient(where, builds.own) },
  'respool-client-call': {
    kind: 'variant',
    only: FEW,
    open: (where, { builds }) => openClient(where, builds.own, false),
  },
  'respool-client-other': {
    kind: 'variant',
    only: [],
    open: (where, { builds }) => openClient(where, builds.other),
  },
  'respool-client-sentinel': {
    kind: 'variant',
    bySentinel: true,
    without: ['unix', 'tls'],
    only: FEW,
    open: (where, { builds }) => openClient(where, builds.own),
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
