// URL → options. The forms:
//
//   redis://[[user]:password@]host[:port][/database][?option=value&…]      also valkey:
//   rediss://…  TLS                                                          also valkeys:
//   redis+unix://[[user]:password@]/path/of/socket[?database=1&…]            also valkey+unix:, unix:
//
// As redis-cli does, a lone user part without a colon is the password. Sources: the IANA registrations of
// `redis` and `rediss`, and redigo's DialURL, whose tests have the odd forms.

import type { ConnectionOptions } from './options.ts'

const SCHEMES: Record<string, 'tcp' | 'tls' | 'unix' | undefined> = {
  'redis:': 'tcp',
  'valkey:': 'tcp',
  'rediss:': 'tls',
  'valkeys:': 'tls',
  'redis+unix:': 'unix',
  'valkey+unix:': 'unix',
  'unix:': 'unix',
}
const NUMBERS = new Set([
  'database',
  'protocol',
  'connectTimeout',
  'commandTimeout',
  'maxPending',
  'maxPendingBytes',
])

/** Stands where the path of a unix socket follows a user: by the standard, a URL with a user needs a host. */
const NO_HOST = 'none.invalid'

/** @throws {TypeError} that names what is wrong with the URL, never its user part */
export function parseUrl(source: string | URL): ConnectionOptions {
  const url = toUrl(source)
  const kind = SCHEMES[url.protocol]
  if (kind === undefined) {
    throw new TypeError(
      `unknown URL scheme '${url.protocol}', expected redis:, rediss:, valkey:, valkeys: or redis+unix:`,
    )
  }
  if (!/^[\w+]+:\/\//.test(String(source))) throw new TypeError(`the URL must start with ${url.protocol}//`)
  if (url.hash !== '') throw new TypeError("the URL has a '#', which is written %23 in a password or a path")
  const options: Record<string, unknown> = {}
  if (kind === 'unix') {
    if (url.hostname !== '' && url.hostname !== NO_HOST)
      throw new TypeError('the URL of a unix socket has no host: three slashes before the path')
    if (url.pathname.length < 2) throw new TypeError('the URL of a unix socket needs a path')
    options.path = decode(url.pathname)
  } else {
    options.host = url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1'
    if (url.port !== '') options.port = Number(url.port)
    if (kind === 'tls') options.tls = true
    const database = url.pathname.replace(/^\//, '')
    if (database !== '') {
      if (!/^\d+$/.test(database)) {
        throw new TypeError(`the URL's path must be the number of a database, got ${shown(database, url)}`)
      }
      options.database = Number(database)
    }
  }
  const username = decode(url.username)
  const password = decode(url.password)
  if (password !== '') {
    options.password = password
    if (username !== '') options.username = username
  } else if (username !== '' && !hasColon(source)) {
    options.password = username
  }
  for (const [name, value] of url.searchParams) {
    if (NUMBERS.has(name)) {
      if (!/^\d+$/.test(value)) {
        throw new TypeError(`the URL's option ${name} must be a number, got ${shown(value, url)}`)
      }
      options[name] = Number(value)
    } else if (name === 'clientName') {
      options.clientName = value
    } else {
      throw new TypeError(`unknown option ${shown(name, url)} in the URL`)
    }
  }
  return options
}

/**
 * A part of the URL for a message. With an `@` behind what was taken for the host, it is likely that the user part
 * was meant to go on, and ended at a `/` or a `?` of the password.
 */
function shown(text: string, { pathname, search }: URL): string {
  const isSecret = `${pathname}${search}`.includes('@')
  return isSecret ? "something before an '@' (in a password / is written %2F, ? is %3F)" : `'${text}'`
}

function toUrl(source: string | URL): URL {
  try {
    return new URL(String(source).replace(/^([\w+]*unix:\/\/[^/]*@)\//, `$1${NO_HOST}/`))
  } catch {
    throw new TypeError('not a URL') // the cause would show the whole URL, password and all
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TypeError('the URL has a malformed escape: % needs two hexadecimal digits of UTF-8')
  }
}

/** Whether the user part has a colon: `x:@` is a user without a password, `x@` a password. */
function hasColon(source: string | URL): boolean {
  return /^[^/]*\/\/[^/@]*:[^/]*@/.test(String(source))
}
