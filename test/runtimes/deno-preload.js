// @ts-check
// Before each file of tests on Deno: what its node:test leaves out, so that the tests need not know of it.

import { afterEach, mock } from 'node:test'

// There they are getters, which cannot be mocked.
for (const name of ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate']) {
  const value = Reflect.get(globalThis, name)
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: true })
}

// What a test mocks is restored when it ends.
afterEach(() => {
  mock.timers.reset()
  mock.restoreAll()
})
