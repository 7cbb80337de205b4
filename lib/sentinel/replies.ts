// What sentinels and servers say, from the wire's shapes to ours. RESP3 has maps where RESP2 has flat arrays
// of names and values; both are read.
//
// Sources: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/, …/commands/role/, and the
// events as sentinel.c publishes them (the manual leaves the sign out of some names).

import type { Reply } from '../resp/index.ts'
import type { Announced, Translate } from './nat-map.ts'

/** The fields of one master, replica or sentinel. */
export type Fields = ReadonlyMap<string, string>

/** `SENTINEL MASTER` and the elements of `SENTINEL REPLICAS|SENTINELS`: name, value, name, value, … */
export function fieldsOf(reply: Reply): Fields {
  const fields = new Map<string, string>()
  if (reply instanceof Map) {
    for (const [name, value] of reply) fields.set(String(name), String(value))
  } else if (Array.isArray(reply)) {
    for (let i = 0; i + 1 < reply.length; i += 2) fields.set(String(reply[i]), String(reply[i + 1]))
  }
  return fields
}

/** `SENTINEL REPLICAS|SENTINELS`: an array of the above. */
export function fieldsOfEach(reply: Reply): Fields[] {
  return Array.isArray(reply) ? reply.map(fieldsOf) : []
}

/** Whether the comma list in `flags` has this one. */
export function isFlagged(fields: Fields, flag: string): boolean {
  return (fields.get('flags') ?? '').split(',').includes(flag)
}

/** `host:port` of the fields `ip` and `port`, as the library writes addresses; `undefined` if one is missing. */
export function addressOf(fields: Fields): string | undefined {
  return joinAddress(fields.get('ip'), fields.get('port'))
}

/** `SENTINEL GET-MASTER-ADDR-BY-NAME`: host, port; null for a name that the sentinel does not know. */
export function addressOfPair(reply: Reply): string | undefined {
  return Array.isArray(reply) ? joinAddress(text(reply[0]), text(reply[1])) : undefined
}

/**
 * What `ROLE` answers:
 *
 *   ["master", offset, [[host, port, offset], …]]
 *   ["slave", host, port, "connect"|"connecting"|"sync"|"connected"|…, offset]
 *   ["sentinel", [name, …]]
 */
export type Role =
  | { readonly kind: 'master' }
  | { readonly kind: 'slave'; readonly master: string | undefined; readonly link: string }
  | { readonly kind: 'other'; readonly name: string }

export function roleOf(reply: Reply): Role {
  const [kind, host, port, link] = Array.isArray(reply) ? reply : []
  if (kind === 'master') return { kind }
  if (kind === 'slave') return { kind, master: joinAddress(text(host), text(port)), link: String(link) }
  return { kind: 'other', name: String(kind) }
}

/**
 * The address that an event calls the new master, if it is `+switch-master` and about this name:
 *
 *   name old-host old-port new-host new-port
 */
export function switchedTo(channel: string, payload: string, name: string): string | undefined {
  if (channel !== '+switch-master') return undefined
  const [subject, , , host, port] = payload.split(' ')
  return subject === name ? joinAddress(host, port) : undefined
}

/** The replica that `+selected-slave` names: "slave" name host port "@" … */
export function selectedReplica(payload: string): string | undefined {
  const [type, , host, port] = payload.split(' ')
  return type === 'slave' ? joinAddress(host, port) : undefined
}

/**
 * Whether an event is about the master of this name, its replicas or its sentinels, or about all that its sentinel says:
 *
 *   "master" name host port …   |   type name host port "@" master-name host port …   |   +switch-master (above)
 *   +tilt, -tilt: "#tilt mode entered", "#tilt mode exited"
 */
export function isAbout(channel: string, payload: string, name: string): boolean {
  if (channel === '+tilt' || channel === '-tilt') return true
  const words = payload.split(' ')
  if (channel === '+switch-master') return words[0] === name
  return words[0] === 'master' ? words[1] === name : words[4] === '@' && words[5] === name
}

/** The payload of an event, of the shapes above, with its addresses translated. */
export function translatePayload(channel: string, payload: string, translate: Translate): string {
  const words = payload.split(' ')
  const replace = (at: number, what: Announced) => {
    const address = joinAddress(words[at], words[at + 1])
    if (address === undefined) return
    const { host, port } = splitAddress(translate(address, what))
    words[at] = host
    words[at + 1] = String(port)
  }
  if (channel === '+switch-master') {
    replace(1, 'master')
    replace(3, 'master')
  } else if (words[0] === 'master' || words[0] === 'slave' || words[0] === 'sentinel') {
    replace(2, words[0] === 'slave' ? 'replica' : words[0])
    if (words[4] === '@') replace(6, 'master')
  }
  return words.join(' ')
}

/** The fields with the address, and that of the master if there is one, translated. */
export function translateFields(fields: Fields, what: Announced, translate: Translate): Fields {
  const translated = new Map(fields)
  const replace = (hostField: string, portField: string, kind: Announced) => {
    const address = joinAddress(fields.get(hostField), fields.get(portField))
    if (address === undefined) return
    const { host, port } = splitAddress(translate(address, kind))
    translated.set(hostField, host).set(portField, String(port))
  }
  replace('ip', 'port', what)
  replace('master-host', 'master-port', 'master')
  return translated
}

/** `INFO sentinel`: whether its clock made a jump, so that it does not act for 30 s on what it sees. */
export function isTilted(info: Reply): boolean {
  return typeof info === 'string' && /^sentinel_tilt:1\r?$/m.test(info)
}

/** `undefined` for what is no host or no port: a peer may say anything. */
export function joinAddress(host: string | undefined, port: string | undefined): string | undefined {
  if (host === undefined || !/^[^\s\0[\]]+$/.test(host)) return undefined
  if (port === undefined || !/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
    return undefined
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) }
}

function text(value: Reply | undefined): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}
