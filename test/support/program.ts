// A program of its own, for what only the end of a process shows, or its standard output.

import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Cleanup, tempDir } from './temp-dir.ts'

/** For a program that should have ended long ago. */
const TIMEOUT_MS = 30_000

export interface Printed {
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a module, with the runtime of the test and from a file, which every runtime can.
 *
 * @param flags of the runtime
 * @returns what it printed; rejects where it does not end with 0
 */
export async function runProgram(
  t: Cleanup,
  source: string,
  flags: readonly string[] = [],
): Promise<Printed> {
  const path = join(tempDir(t), 'program.mjs')
  writeFileSync(path, source)
  return await promisify(execFile)(process.execPath, [...flags, path], { timeout: TIMEOUT_MS })
}
