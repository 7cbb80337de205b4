// Where a server is, as users write it and as the library does: `host:port`, with brackets around an IPv6 host.

import { shown } from '../errors.ts'
import { joinAddress, splitAddress } from './replies.ts'

/** Where a server is: `'host:port'`, `'[v6]:port'`, or the two apart. */
export type Address = string | { readonly host: string; readonly port?: number | undefined }

/** @throws {TypeError} */
export function normalizeAddress(address: Address, defaultPort: number): string {
  const { host, port } = typeof address === 'string' ? split(address, defaultPort) : (address ?? {})
  const bare = typeof host === 'string' ? host.trim().replace(/^\[(.*)\]$/, '$1') : ''
  const joined = /[\s[\]]/.test(bare) ? undefined : joinAddress(bare, String(port ?? defaultPort))
  const number = joined === undefined ? 0 : splitAddress(joined).port
  if (joined === undefined || number < 1 || number > 65_535) {
    // of an object no more than that: a password may have got into it
    const got =
      typeof address === 'object' && address !== null
        ? `{ host: ${shown(host)}, port: ${shown(port)} }`
        : shown(address)
    throw new TypeError(`an address must be 'host:port' or { host, port }, got ${got}`)
  }
  return joined
}

/** `host`, `host:port`, `[v6]` or `[v6]:port`; of a bare IPv6 address nobody can tell where the port begins. */
function split(address: string, defaultPort: number): { host: string; port: string } {
  const [, v6, host, port] = /^\s*(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/.exec(address) ?? []
  return { host: v6 ?? host ?? '', port: port ?? String(defaultPort) }
}
