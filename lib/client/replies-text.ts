// The two replies that servers give as lines of text, taken apart: INFO and CLIENT LIST. Typed commands leave them as
// text, since most callers look for one field.

/**
 * The fields of `INFO`, of `CLUSTER INFO`, and of whatever else has a `name:value` on each line. Without its sections:
 * no name is in two of them. Of a name that is there twice, as `module`, the last.
 *
 * @returns an object without prototype; values as the server wrote them: `parseInfo(await redis.info()).redis_version`
 * @throws {TypeError} not a text
 */
export function parseInfo(info: string): Record<string, string> {
  checkText('parseInfo', info)
  const result: Record<string, string> = Object.create(null)
  for (const line of info.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0 && !line.startsWith('#')) result[line.slice(0, colon)] = line.slice(colon + 1)
  }
  return result
}

/**
 * The clients of `CLIENT LIST`, or the one of `CLIENT INFO`, each an object without prototype of its `name=value`:
 * `parseClientList(await redis.clientList()).map(({ addr }) => addr)`.
 *
 * @throws {TypeError} not a text
 */
export function parseClientList(clients: string): Record<string, string>[] {
  checkText('parseClientList', clients)
  return clients
    .split('\n')
    .filter((line) => line.includes('='))
    .map((line) => {
      const result: Record<string, string> = Object.create(null)
      let name = ''
      for (const word of line.split(' ')) {
        // the path of a socket may have a space in it; no value that the server makes up has a word without `=`
        const equals = word.indexOf('=')
        if (equals < 0) result[name] += ` ${word}`
        else {
          name = word.slice(0, equals)
          result[name] = word.slice(equals + 1)
        }
      }
      return result
    })
}

function checkText(name: string, reply: unknown): void {
  if (typeof reply === 'string') return
  const what =
    reply === null || typeof reply !== 'object' ? String(reply) : `an object (${reply.constructor?.name})`
  throw new TypeError(`${name}() takes the text of a reply, got ${what}`)
}
