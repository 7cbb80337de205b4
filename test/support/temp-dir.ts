// A directory of a test's own, gone when the test ends.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Whatever runs functions when a test, or a file of tests, is over: a `TestContext`, or `{ after }` of `node:test`. */
export interface Cleanup {
  after(fn: () => Promise<void> | void): void
}

/** Creates an empty directory and returns its path; the end of `t` removes it with all that is in it. */
export function tempDir(t: Cleanup): string {
  const path = mkdtempSync(join(tmpdir(), 'respool-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}
