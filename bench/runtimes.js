// Which binary runs a client: that of the parent, another Node, or Bun for its own client.

import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const packages = join(dirname(fileURLToPath(import.meta.url)), 'node_modules')

/** @param wanted `newest` for the Node that comes as a package, a path, or `undefined` for the parent's own */
export function findNode(wanted) {
  if (wanted === undefined) return process.execPath
  if (wanted === 'newest') {
    const system = `${process.platform}-${process.arch}`
    // the package 'node' fetches that of the system in its install step; where those are not run, that one alone does
    const names = ['node', `node-${system}`, `node-bin-${system}`]
    const found = names.map((name) => join(packages, name, 'bin', 'node')).find((path) => existsSync(path))
    if (found !== undefined) return found
    throw new Error(`no Node was installed for ${system}: give the path of one`)
  }
  if (existsSync(wanted)) return wanted
  throw new Error(`there is no runtime '${wanted}'`)
}

/** Its package's install step moves the binary; without that step it is where it came. */
export function findBun() {
  const moved = join(packages, 'bun', 'bin', 'bun.exe')
  const scope = join(packages, '@oven')
  const folders = existsSync(scope) ? readdirSync(scope).filter((name) => !/musl|baseline/.test(name)) : []
  return [...folders.map((folder) => join(scope, folder, 'bin', 'bun')), moved].find((path) =>
    existsSync(path),
  )
}
