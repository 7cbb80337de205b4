// What a server writes: one function for each type of RESP2 and RESP3, each giving the bytes of one value.
// Written from the specification and not from lib/resp, so that a misreading there does not pass here.

type Text = string | Uint8Array

const CRLF = '\r\n'

export const simple = (text: string): Buffer => line('+', text)
export const error = (text: string): Buffer => line('-', text)
export const integer = (value: number | bigint): Buffer => line(':', String(value))
export const bulk = (text: Text): Buffer => sized('$', text)
export const array = (...items: Buffer[]): Buffer => counted('*', items.length, items)

export const nullBulk = (): Buffer => Buffer.from('$-1\r\n')
export const nullArray = (): Buffer => Buffer.from('*-1\r\n')
export const resp3Null = (): Buffer => Buffer.from('_\r\n')

export const boolean = (value: boolean): Buffer => line('#', value ? 't' : 'f')
export const bigNumber = (value: bigint): Buffer => line('(', String(value))
export const bulkError = (text: string): Buffer => sized('!', text)
export const set = (...items: Buffer[]): Buffer => counted('~', items.length, items)
export const push = (...items: Buffer[]): Buffer => counted('>', items.length, items)
export const map = (...pairs: [Buffer, Buffer][]): Buffer => counted('%', pairs.length, pairs.flat())
export const attribute = (...pairs: [Buffer, Buffer][]): Buffer => counted('|', pairs.length, pairs.flat())

export function double(value: number): Buffer {
  if (Object.is(value, -0)) return line(',', '-0')
  if (Number.isNaN(value)) return line(',', 'nan')
  if (!Number.isFinite(value)) return line(',', value > 0 ? 'inf' : '-inf')
  return line(',', String(value))
}

/** @param format three characters, such as `txt` and `mkd` */
export function verbatim(format: string, text: Text): Buffer {
  return sized('=', Buffer.concat([Buffer.from(`${format}:`), Buffer.from(text)]))
}

export function streamedString(...chunks: Text[]): Buffer {
  return Buffer.concat([
    Buffer.from('$?\r\n'),
    ...chunks.map((chunk) => sized(';', chunk)),
    Buffer.from(';0\r\n'),
  ])
}

export const streamedArray = (...items: Buffer[]): Buffer => streamed('*', items)
export const streamedSet = (...items: Buffer[]): Buffer => streamed('~', items)
export const streamedMap = (...pairs: [Buffer, Buffer][]): Buffer => streamed('%', pairs.flat())

function line(type: string, text: string): Buffer {
  return Buffer.from(type + text + CRLF)
}

function sized(type: string, text: Text): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([line(type, String(bytes.length)), bytes, Buffer.from(CRLF)])
}

function counted(type: string, count: number, items: readonly Buffer[]): Buffer {
  return Buffer.concat([line(type, String(count)), ...items])
}

function streamed(type: string, items: readonly Buffer[]): Buffer {
  return Buffer.concat([line(type, '?'), ...items, line('.', '')])
}
