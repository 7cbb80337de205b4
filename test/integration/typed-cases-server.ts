// Typed commands on the server itself: a row for each method, with the value it must give in both protocols.

import { createHash } from 'node:crypto'
import { type Case, row, suchThat } from './typed-cases.ts'

const script = 'EVAL return(1) 0'
const sha = createHash('sha1').update('return(1)').digest('hex')
// some milliseconds; commands of a setup are split at spaces and semicolons, and at no tab
const slow = 'EVAL for\ti=1,1e6\tdo\tend 0'
const since7 = { redis: '7.0', valkey: '7.2' }
const library =
  "#!lua name=lib\nredis.register_function{function_name='f',callback=function() return 1 end,flags={'no-writes'}}"
const isText = suchThat(
  (value: unknown) => Buffer.isBuffer(value) || (typeof value === 'string' && value.length > 0),
)
const isHelp = suchThat(
  (lines: unknown[]) => lines.length > 2 && lines.every((line) => typeof line === 'string'),
)
const isNumber = suchThat((value: unknown) => typeof value === 'number')

const containers = [
  'acl',
  'client',
  'command',
  'config',
  'function',
  'latency',
  'memory',
  'module',
  'object',
] as const
const helps = ['pubsub', 'script', 'slowlog', 'xgroup', 'xinfo'] as const

export const serverCases: readonly Case[] = [
  ...[...containers, ...helps].map((it) =>
    row(`${it}Help`, '', (r) => r[`${it}Help`](), isHelp, { from: since7 }),
  ),
  row('commandlogHelp', '', (r) => r.commandlogHelp(), isHelp, { from: { valkey: '8.1' } }),

  // access
  row(
    'aclCat',
    '',
    (r) => r.aclCat(),
    suchThat((names: string[]) => names.map(String).includes('keyspace')),
  ),
  row('aclDeluser', 'ACL SETUSER u on', (r) => r.aclDeluser('u', 'w'), 1),
  row('aclDryrun', '', (r) => r.aclDryrun('default', 'GET', 'k'), 'OK', { from: since7 }),
  row(
    'aclGenpass',
    '',
    (r) => r.aclGenpass(8),
    suchThat((it: string) => String(it).length === 2),
    { varies: true },
  ),
  row(
    'aclGetuser',
    'ACL DELUSER u; ACL SETUSER u on nopass ~a* &c* +get (+set ~b*)',
    (r) => r.aclGetuser('u'),
    suchThat(
      (user: { flags: string[]; commands: string; selectors: { keys: string }[] }) =>
        user.flags.map(String).includes('on') &&
        String(user.commands).endsWith('+get') &&
        String(user.selectors[0]?.keys) === '~b*',
    ),
    { from: since7 },
  ),
  row('aclGetuser', '', (r) => r.aclGetuser('nobody'), null),
  row(
    'aclList',
    'ACL DELUSER u',
    (r) => r.aclList(),
    suchThat((rules: string[]) => String(rules[0]).startsWith('user default')),
  ),
  row(
    'aclLog',
    '',
    (r) => r.aclLog(1),
    suchThat(
      ([entry]: Record<string, unknown>[]) => entry?.count === 1 && typeof entry['age-seconds'] === 'number',
    ),
    { varies: true },
  ),
  row('aclLog', '', (r) => r.aclLog('RESET'), 'OK'),
  row('aclSetuser', '', (r) => r.aclSetuser('u', 'on', 'nopass'), 'OK'),
  row('aclUsers', 'ACL DELUSER u', (r) => r.aclUsers(), ['default']),
  row('aclWhoami', '', (r) => r.aclWhoami(), 'default'),

  // clients
  row('clientGetname', '', (r) => r.clientGetname(), null),
  row('clientGetredir', '', (r) => r.clientGetredir(), -1),
  row('clientId', '', (r) => r.clientId(), isNumber, { varies: true }),
  row('clientInfo', '', (r) => r.clientInfo(), isText, { varies: true }),
  row('clientKill', '', (r) => r.clientKill('ID', 99999999), 0),
  row('clientList', '', (r) => r.clientList('TYPE', 'NORMAL'), isText, { varies: true }),
  row('clientPause', '', (r) => r.clientPause(1, 'WRITE'), 'OK'),
  row('clientSetinfo', '', (r) => r.clientSetinfo('LIB-NAME', 'x'), 'OK', {
    from: { redis: '7.2', valkey: '7.2' },
  }),
  row('clientTrackinginfo', '', (r) => r.clientTrackinginfo(), {
    flags: ['off'],
    redirect: -1,
    prefixes: [],
  }),
  row('clientUnblock', '', (r) => r.clientUnblock(99999999, 'ERROR'), 0),
  row('clientUnpause', '', (r) => r.clientUnpause(), 'OK'),
  row('echo', '', (r) => r.echo('hello'), 'hello'),
  row('ping', '', (r) => r.ping(), 'PONG'),
  row('ping', '', (r) => r.ping('hello'), 'hello'),
  row('publish', '', (r) => r.publish('c', 'm'), 0),
  row('pubsubChannels', '', (r) => r.pubsubChannels(), []),
  row('pubsubNumpat', '', (r) => r.pubsubNumpat(), 0),
  row('pubsubNumsub', '', (r) => r.pubsubNumsub('c'), { c: 0 }),
  row('pubsubShardchannels', '', (r) => r.pubsubShardchannels('*'), [], { from: since7 }),
  row('spublish', '', (r) => r.spublish('c', 'm'), 0, { from: since7 }),

  // commands
  row(
    'command',
    '',
    (r) => r.command(),
    suchThat((all: unknown[][]) => {
      const get = all.find(([name]) => String(name) === 'get')
      return get?.[1] === 2 && Array.isArray(get[2]) && get[2].includes('readonly')
    }),
  ),
  row('commandCount', '', (r) => r.commandCount(), isNumber),
  row(
    'commandDocs',
    '',
    (r) => r.commandDocs('SET', 'CLIENT'),
    suchThat(
      (
        docs: Record<
          string,
          { arguments: { flags: string[] }[]; subcommands: Record<string, { group: string }> }
        >,
      ) =>
        docs.set?.arguments.some(({ flags }) => flags?.includes('optional')) &&
        String(docs.client?.subcommands['client|list']?.group) === 'connection',
    ),
    { from: since7 },
  ),
  row('commandGetkeys', '', (r) => r.commandGetkeys('MSET', 'a', 1, 'b', 2), ['a', 'b']),
  row('commandGetkeysandflags', '', (r) => r.commandGetkeysandflags('GET', 'a'), [['a', ['RO', 'access']]], {
    from: since7,
  }),
  row(
    'commandInfo',
    '',
    (r) => r.commandInfo('GET', 'nosuch'),
    [
      [
        'get',
        2,
        ['readonly', 'fast'],
        1,
        1,
        1,
        ['@read', '@string', '@fast'],
        [],
        [
          {
            flags: ['RO', 'access'],
            begin_search: { type: 'index', spec: { index: 1 } },
            find_keys: { type: 'range', spec: { lastkey: 0, keystep: 1, limit: 0 } },
          },
        ],
        [],
      ],
      null,
    ],
    { from: since7 },
  ),
  row(
    'commandInfo',
    '',
    (r) => r.commandInfo('CONFIG'),
    suchThat(
      ([[name, , , , , , , , , parts]]: [unknown[]]) =>
        String(name) === 'config' &&
        Array.isArray(parts) &&
        parts.some(([part]) => String(part) === 'config|get'),
    ),
    { from: since7 },
  ),
  row('commandList', '', (r) => r.commandList('FILTERBY', 'PATTERN', 'xrange'), ['xrange'], { from: since7 }),
  row(
    'commandlogGet',
    'CONFIG SET commandlog-execution-slower-than 0',
    (r) => r.commandlogGet(1, 'SLOW'),
    suchThat(([entry]: unknown[][]) => entry?.length === 6 && Array.isArray(entry[3])),
    { from: { valkey: '8.1' }, varies: true },
  ),
  row('commandlogLen', '', (r) => r.commandlogLen('LARGE-REPLY'), 0, { from: { valkey: '8.1' } }),
  row('commandlogReset', '', (r) => r.commandlogReset('SLOW'), 'OK', { from: { valkey: '8.1' } }),

  // configuration
  row(
    'configGet',
    '',
    (r) => r.configGet('maxmemory', 'maxmemory-policy'),
    { maxmemory: '0', 'maxmemory-policy': 'noeviction' },
    { from: since7 },
  ),
  row('configResetstat', '', (r) => r.configResetstat(), 'OK'),
  row('configSet', '', (r) => r.configSet('maxmemory-samples', 5), 'OK'),
  row('info', '', (r) => r.info('server', 'clients'), isText, { from: since7, varies: true }),
  row('lastsave', '', (r) => r.lastsave(), isNumber, { varies: true }),
  row('lolwut', '', (r) => r.lolwut('VERSION', 1), isText),
  row('role', '', (r) => r.role(), ['master', 0, []]),
  row('save', '', (r) => r.save(), 'OK'),
  row(
    'bgsave',
    '',
    (r) => r.bgsave('SCHEDULE').catch((error: Error) => error.message.slice(4)),
    suchThat((it: string) => it.startsWith('Background ')),
    { varies: true },
  ),
  row(
    'bgrewriteaof',
    '',
    (r) => r.bgrewriteaof().catch((error: Error) => error.message.slice(4)),
    suchThat((it: string) => it.startsWith('Background ')),
    { varies: true },
  ),
  row(
    'time',
    '',
    (r) => r.time(),
    suchThat(([seconds]: [string]) => Number(String(seconds)) > 1e9),
    { varies: true },
  ),
  row('flushall', 'SET k v', (r) => r.flushall('SYNC'), 'OK'),
  row('flushdb', 'SET k v', (r) => r.flushdb('ASYNC'), 'OK'),
  row('swapdb', '', (r) => r.swapdb(0, 1), 'OK'),
  row('replicaof', '', (r) => r.replicaof('NO', 'ONE'), 'OK'),
  row('slaveof', '', (r) => r.slaveof('NO', 'ONE'), 'OK'),
  row('migrate', '', (r) => r.migrate('127.0.0.1', 1, '', 0, 10, 'COPY', 'KEYS', 'nosuch'), 'NOKEY'),
  row(
    'failover',
    '',
    (r) => r.failover('ABORT').catch((error: Error) => error.message),
    'ERR No failover in progress.',
  ),

  // latency, memory, slow commands
  row('latencyDoctor', '', (r) => r.latencyDoctor(), isText),
  row(
    'latencyGraph',
    `CONFIG SET latency-monitor-threshold 1; ${slow}`,
    (r) => r.latencyGraph('command'),
    isText,
    { varies: true },
  ),
  row(
    'latencyHistogram',
    'CONFIG RESETSTAT; SET k v',
    (r) => r.latencyHistogram('SET'),
    suchThat(
      (it: Record<string, { calls: number; histogram_usec: Record<string, number> }>) =>
        it.set?.calls === 1 && Object.values(it.set.histogram_usec).includes(1),
    ),
    { from: since7, varies: true },
  ),
  row(
    'latencyHistory',
    `CONFIG SET latency-monitor-threshold 1; LATENCY RESET; ${slow}`,
    (r) => r.latencyHistory('command'),
    suchThat(([[time, took]]: [[number, number]]) => time > 1e9 && took >= 1),
    { varies: true },
  ),
  row(
    'latencyLatest',
    `CONFIG SET latency-monitor-threshold 1; LATENCY RESET; ${slow}`,
    (r) => r.latencyLatest(),
    suchThat(
      ([[event, time, latest, max]]: [[string, number, number, number]]) =>
        String(event) === 'command' && time > 1e9 && latest >= 1 && max >= latest,
    ),
    { varies: true },
  ),
  row('latencyReset', 'CONFIG SET latency-monitor-threshold 0; LATENCY RESET', (r) => r.latencyReset(), 0),
  row('memoryDoctor', '', (r) => r.memoryDoctor(), isText, { varies: true }),
  row('memoryMallocStats', '', (r) => r.memoryMallocStats(), isText, { varies: true }),
  row('memoryPurge', '', (r) => r.memoryPurge(), 'OK'),
  row(
    'memoryStats',
    'SET k v',
    (r) => r.memoryStats(),
    suchThat(
      (it: Record<string, number & Record<string, number>>) =>
        Number(it['dataset.percentage']) > 0 &&
        Number(it['db.0']?.['overhead.hashtable.main']) >= 0 &&
        typeof it.fragmentation === 'number',
    ),
    { varies: true },
  ),
  row('memoryUsage', 'SET k v', (r) => r.memoryUsage('k', 'SAMPLES', 0), isNumber),
  row('memoryUsage', '', (r) => r.memoryUsage('k'), null),
  row(
    'moduleList',
    '',
    (r) => r.moduleList(),
    suchThat((them: Record<string, unknown>[]) =>
      them.every((it) => 'name' in it && typeof it.ver === 'number' && Array.isArray(it.args)),
    ),
    { from: since7 },
  ),
  row(
    'slowlogGet',
    'CONFIG SET slowlog-log-slower-than 0; SET k v',
    (r) => r.slowlogGet(1),
    suchThat(
      (them: unknown[][]) =>
        them.length > 0 &&
        them.every((it) => it.length === 6 && typeof it[0] === 'number' && Array.isArray(it[3])),
    ),
    { varies: true, from: since7 },
  ),
  row('slowlogReset', 'CONFIG SET slowlog-log-slower-than -1', (r) => r.slowlogReset(), 'OK'),
  row('slowlogLen', 'SLOWLOG RESET', (r) => r.slowlogLen(), 0),

  // scripts and functions
  row('eval', '', (r) => r.eval('return {KEYS[1], ARGV[1], 1, false}', 1, 'k', 'a'), ['k', 'a', 1, null]),
  row('evalRo', '', (r) => r.evalRo('return 1', 0), 1, { from: since7 }),
  row('evalsha', script, (r) => r.evalsha(sha, 0), 1),
  row('evalshaRo', script, (r) => r.evalshaRo(sha, 0), 1, { from: since7 }),
  row('scriptExists', script, (r) => r.scriptExists(sha, 'no'), [1, 0]),
  row('scriptFlush', '', (r) => r.scriptFlush('SYNC'), 'OK'),
  row('scriptKill', '', (r) => r.scriptKill().catch((error: Error) => error.message.slice(0, 7)), 'NOTBUSY'),
  row('scriptLoad', '', (r) => r.scriptLoad('return(1)'), sha),
  row('scriptShow', script, (r) => r.scriptShow(sha), 'return(1)', { from: { valkey: '8.0' } }),
  row('functionLoad', '', (r) => r.functionLoad('REPLACE', library), 'lib', { from: since7 }),
  row(
    'fcall',
    '',
    async (r) => [await r.functionLoad('REPLACE', library), await r.fcall('f', 0)],
    ['lib', 1],
    { from: since7 },
  ),
  row(
    'fcallRo',
    '',
    async (r) => [await r.functionLoad('REPLACE', library), await r.fcallRo('f', 0)],
    ['lib', 1],
    { from: since7 },
  ),
  row(
    'functionList',
    '',
    async (r) => [await r.functionLoad('REPLACE', library), await r.functionList('WITHCODE')],
    [
      'lib',
      [
        {
          library_name: 'lib',
          engine: 'LUA',
          functions: [{ name: 'f', description: null, flags: ['no-writes'] }],
          library_code: library,
        },
      ],
    ],
    { from: since7 },
  ),
  row(
    'functionStats',
    '',
    (r) => r.functionStats(),
    suchThat(
      (it: { running_script: unknown; engines: Record<string, { libraries_count: number }> }) =>
        it.running_script === null && typeof it.engines.LUA?.libraries_count === 'number',
    ),
    { from: since7 },
  ),
  row(
    'functionDelete',
    '',
    async (r) => [await r.functionLoad('REPLACE', library), await r.functionDelete('lib')],
    ['lib', 'OK'],
    { from: since7 },
  ),
  row('functionDump', '', (r) => r.functionDump(), isText, { from: since7 }),
  row('functionFlush', '', (r) => r.functionFlush(), 'OK', { from: since7 }),
  row(
    'functionKill',
    '',
    (r) => r.functionKill().catch((error: Error) => error.message.slice(0, 7)),
    'NOTBUSY',
    { from: since7 },
  ),
]
