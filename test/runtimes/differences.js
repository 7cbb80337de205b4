// @ts-check
/**
 * What is known to fail elsewhere than on Node, and why: runtime, file, test. docs/runtimes.md tells what of it
 * users see; the rest is of the tests alone. A test stands for those in it, too.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>>}
 */

const busy = 'after a busy loop timers are served before what has arrived'
const ticks = 'promises go on before process.nextTick()'
const maps = 'its deepEqual() takes some maps for different whose keys are equal objects; not in each run'
const uncaught = 'its test runner takes uncaught exceptions for its own'

export const differences = {
  bun: {
    'test/client/subscriber.test.ts': {
      'what onError throws is an uncaught exception': uncaught,
      'listeners keep the asynchronous context of their subscription': uncaught,
    },
    'test/client/transaction.test.ts': {
      'transactions that are over keep nothing alive, though their connection lives on':
        'its garbage collector has no flag by which the test could call it',
    },
    'test/endpoint/silence-watch.test.ts': { 'a busy loop of our own is not taken for silence': busy },
    'test/errors.test.ts': {
      'an error reply has no stack but itself, and leaves those of others alone':
        'with a stackTraceLimit of 0 an error has no stack at all, not its name and message',
    },
    'test/pool/lease.test.ts': {
      'no timer outlives its clean-up': 'process.getActiveResourcesInfo() tells of no timers',
    },
    'test/resp/random-replies.test.ts': {
      'any replies are read as they were written, however the wire is cut': maps,
      'any push among replies is read as one': maps,
    },
  },
  deno: {
    'test/client/subscriber-watch.test.ts': {
      'a loop that was held up itself does not take its peer for silent': busy,
    },
    'test/connection/addresses.test.ts': {
      'TLS: of several addresses the first that answers is taken, and the name is that of the certificate':
        'with TLS and several addresses `onread` is given a buffer into which nothing was read',
    },
    'test/connection/connect.test.ts': {
      'a name with several addresses fails with the reason of each':
        'its net does not ask the dns.lookup that is mocked',
    },
    'test/connection/dial.test.ts': {
      'TLS: small writes are not held back, and idle connections are probed, as without TLS':
        'setNoDelay() is called on a socket of its own as well',
    },
    'test/connection/handshake.test.ts': {
      'a server that is full says so, though it closes at once':
        'the end of the connection is, as a rule, not told',
    },
    'test/endpoint/informer.test.ts': {
      'a refusal on a lease is told before its borrower goes on; other errors of a server are not': ticks,
      'of many refusals at a time the one that says most is told, once': ticks,
      'a lazy lease tells of refusals, shared or pinned': ticks,
      'the loss of a connection that is lent is told, whether something was pending or not': ticks,
    },
    'test/endpoint/role-pool.test.ts': {
      'what a lease finds out about its server is reported, lazy or not': ticks,
    },
    'test/endpoint/silence-watch.test.ts': { 'a busy loop of our own is not taken for silence': busy },
    'test/examples.test.ts': {
      'the HTTP service answers, and exits by itself when it is told to end':
        'its child_process tells the signal that was sent, not the code that the process ended with',
    },
    'test/integration/lazy-lease.test.ts': {
      'a lease that finds its master demoted tells: nothing is sent there until it is one again': ticks,
    },
    'test/sentinel/router.test.ts': {
      'a replica that refuses the write of a lease is one, and is read from; one that is not ready is not':
        ticks,
    },
  },
}
