// Damages wires the way that finds most: by the grammar. A wire is taken apart into lines and the bytes of bulk
// strings, a few of these are changed, doubled, dropped or taken from another wire, and it is put together again;
// sometimes single bytes are changed after that, or the end is cut off.

import { pick, type RandomNumbers } from './random-numbers.ts'

const TYPES = [...'+-:$*_,#(!=%~>|;.'] as const
/** What a length, a count or a number may be told to be: on both sides of each limit, and nonsense. */
const NUMBERS = [
  ...'0 1 2 3 4 5 6 11 12 13 39 40 41 ? -1 -0 +1 -2 007 1.5 1e3 inf -inf nan t x'.split(' '),
  ...'999999999999999 1000000000000000 9007199254740991 9007199254740992 -9223372036854775808'.split(' '),
  ...'99999999999 4294967295 99999999999999999999 100000000000000000000 -0000000000000000'.split(' '),
  '',
]
/** Whole elements and parts of them, to be put where they do not belong. */
const SNIPPETS = [
  ...'+OK\r\n $-1\r\n *-1\r\n _\r\n $0\r\n\r\n *0\r\n %0\r\n ~0\r\n >0\r\n |0\r\n -ERR\r\n :1\r\n'.split(' '),
  ...'*1\r\n %1\r\n ~1\r\n >1\r\n |1\r\n *?\r\n %?\r\n ~?\r\n $?\r\n .\r\n ;0\r\n ;1\r\na\r\n'.split(' '),
  ...'|1\r\n+a\r\n+b\r\n >2\r\n+a\r\n+b\r\n =5\r\ntxt:a\r\n !3\r\nERR\r\n ,-0\r\n (1\r\n #t\r\n'.split(' '),
  ...'\r \n \r\n $3\r\n $5\r\n\u00c3\u00a9\u00ff\r\n\r\n'.split(' '),
]

/** A wire made from one or two of the corpus. */
export function mutate(random: RandomNumbers, corpus: readonly Buffer[]): Buffer {
  const tokens = takenApart(pick(random, corpus))
  if (random(2) === 0) tokens.push(...takenApart(pick(random, corpus)))
  for (let i = random(3); i >= 0; i -= 1) mutateTokens(random, tokens, corpus)
  const wire = Buffer.from(tokens.join(''), 'latin1')
  if (wire.length === 0) return wire
  if (random(4) === 0) for (let i = random(3); i >= 0; i -= 1) wire[random(wire.length)] = random(256)
  return random(4) === 0 ? wire.subarray(0, random(wire.length + 1)) : wire
}

/** Places where to cut a wire, ascending: none, one, several, or at every byte. */
export function randomCuts(random: RandomNumbers, length: number): number[] {
  if (random(8) === 0) return Array.from({ length }, (_, i) => i)
  return Array.from({ length: random(5) }, () => random(length + 1)).sort((a, b) => a - b)
}

function mutateTokens(random: RandomNumbers, tokens: string[], corpus: readonly Buffer[]): void {
  const at = random(tokens.length + 1)
  const token = tokens[at] ?? ''
  switch (random(8)) {
    case 0: // another number
      tokens[at] = `${token.slice(0, 1)}${pick(random, NUMBERS)}\r\n`
      break
    case 1: // a number that is off by a little
      tokens[at] = token.replace(/\d+/, (digits) => String(Math.max(0, Number(digits) + random(5) - 2)))
      break
    case 2: // another type
      tokens[at] = pick(random, TYPES) + token.slice(1)
      break
    case 3: // something put in between
      tokens.splice(at, 0, pick(random, SNIPPETS))
      break
    case 4: // something dropped
      tokens.splice(at, 1 + random(3))
      break
    case 5: // something doubled, here or elsewhere
      tokens.splice(random(tokens.length + 1), 0, ...tokens.slice(at, at + 1 + random(3)))
      break
    case 6: {
      // a part of another wire
      const other = takenApart(pick(random, corpus))
      const from = random(other.length)
      tokens.splice(at, random(3), ...other.slice(from, from + 1 + random(4)))
      break
    }
    default: // a line that is longer or ends differently
      tokens[at] = pick(random, [
        token.replace('\r\n', '\n'),
        token.replace('\r\n', '\r'),
        token.replace('\r\n', '\r\r\n'),
        `${token.slice(0, 1)}${'1'.repeat(20 + random(8))}\r\n`,
        token.slice(0, 1) + token,
      ])
  }
}

/** Lines with their CRLF, and the bytes behind a line that announces them, also with theirs. */
function takenApart(wire: Buffer): string[] {
  const text = wire.toString('latin1')
  const tokens: string[] = []
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\r\n', at)
    const line = text.slice(at, end < 0 ? text.length : end + 2)
    tokens.push(line)
    at += line.length
    const [, length] = /^[$!=;](\d{1,6})\r\n$/.exec(line) ?? []
    if (length === undefined || length === '0') continue
    const body = text.slice(at, at + Number(length) + 2)
    tokens.push(body)
    at += body.length
  }
  return tokens
}
