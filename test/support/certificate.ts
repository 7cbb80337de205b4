// A certificate for 127.0.0.1 and localhost, signed by itself, made by `openssl`.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cleanup, tempDir } from './temp-dir.ts'

/** PEM texts, and the files that hold them. */
export interface Certificate {
  readonly key: string
  readonly cert: string
  readonly keyPath: string
  readonly certPath: string
}

/** Whether there is an `openssl`; the reason to skip a test otherwise. */
export function missingOpenssl(): string | false {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'no openssl to make a certificate with'
  }
}

/** Makes one; its files are gone when the test ends. */
export function makeCertificate(t: Cleanup): Certificate {
  const dir = tempDir(t)
  const keyPath = join(dir, 'key.pem')
  const certPath = join(dir, 'cert.pem')
  const request = ['req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=localhost']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', keyPath]
  const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  execFileSync('openssl', [...request, ...key, ...names, '-out', certPath], { stdio: 'ignore' })
  return { key: readFileSync(keyPath, 'utf8'), cert: readFileSync(certPath, 'utf8'), keyPath, certPath }
}
