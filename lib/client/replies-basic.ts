// What replies are put together from, in the shapes of RESP2 and RESP3, and the values that both become: the parts of
// the shapes in replies.ts.
//
//   RESP2                     RESP3                       value
//   [name, value, …]          Map                         object without prototype, or pairs
//   [item, …]                 Set                         array
//   "1.5"                     1.5                         number
//   1                         true                        number
//
// A reply is ours alone, so its arrays may be changed in place. What is not of the expected form, such as null or an
// error inside an aggregate, is passed on as it is.

import type { Reply } from '../resp/index.ts'

/** From what the server replied, in either protocol, to the value. */
export type Shape = (reply: Reply) => unknown

/** What the elements of a map are to become, by their names. */
export type Fields = Readonly<Record<string, Shape>>

/** A name that the server gave, as the key of an object. */
export function text(reply: Reply): string {
  return typeof reply === 'string' ? reply : String(reply)
}

/** double = `,` in RESP3, a bulk string in RESP2 */
export function double(reply: Reply): Reply {
  if (typeof reply !== 'string' && !(reply instanceof Uint8Array)) return reply
  const digits = text(reply)
  if (digits === 'inf') return Number.POSITIVE_INFINITY
  if (digits === '-inf') return Number.NEGATIVE_INFINITY
  return Number(digits) // `nan` too
}

/** bit = `#` in RESP3, an integer in RESP2 */
export function bit(reply: Reply): Reply {
  return typeof reply === 'boolean' ? Number(reply) : reply
}

/** Set or array, to an array. */
export function list(reply: Reply): Reply {
  return reply instanceof Set ? [...reply] : reply
}

/** An array, or a set, of what `shape` makes. */
export function listOf(shape: Shape): Shape {
  return (reply) => {
    const items = list(reply)
    return Array.isArray(items) ? items.map((item) => shape(item)) : items
  }
}

/** An array of known length, of which some elements need a shape. */
export function tuple(...shapes: readonly (Shape | undefined)[]): Shape {
  return (reply) => (Array.isArray(reply) ? reply.map((item, at) => shapes[at]?.(item) ?? item) : reply)
}

/** A map to an object without prototype, its values as they are. */
export function record(reply: Reply): unknown {
  return fill(reply, undefined)
}

/** A map of which some elements need a shape. */
export function fields(shapes: Fields): Shape {
  return (reply) =>
    fill(reply, (name, value) => (Object.hasOwn(shapes, name) ? shapes[name]?.(value) : value))
}

/** A map of which every element needs the same shape. */
export function recordOf(shape: Shape): Shape {
  return (reply) => fill(reply, (_, value) => shape(value))
}

/** A map, a flat array or an array of pairs, to pairs. */
export function pairs(reply: Reply): unknown {
  if (reply instanceof Map) return [...reply]
  if (!Array.isArray(reply) || Array.isArray(reply[0])) return reply
  const result: [Reply, Reply][] = []
  for (let at = 0; at + 1 < reply.length; at += 2) result.push([reply[at] as Reply, reply[at + 1] as Reply])
  return result
}

/** Members and their scores: member, score, … in RESP2, [member, score], … or a map in RESP3. */
export function scored(reply: Reply): unknown {
  if (!Array.isArray(reply) && !(reply instanceof Map)) return reply
  const result = pairs(reply) as [Reply, Reply][]
  for (const pair of result) pair[1] = double(pair[1])
  return result
}

function fill(reply: Reply, shape: ((name: string, value: Reply) => unknown) | undefined): unknown {
  const result: Record<string, unknown> = Object.create(null)
  if (reply instanceof Map) {
    for (const [name, value] of reply) {
      const key = text(name)
      result[key] = shape === undefined ? value : shape(key, value)
    }
    return result
  }
  if (!Array.isArray(reply)) return reply
  for (let at = 0; at + 1 < reply.length; at += 2) {
    const [key, value] = [text(reply[at] as Reply), reply[at + 1] as Reply]
    result[key] = shape === undefined ? value : shape(key, value)
  }
  return result
}
