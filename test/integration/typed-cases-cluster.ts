// Typed commands of a cluster: a row for each method that one server, which serves all slots by itself, can answer.

import { type Case, row, suchThat } from './typed-cases.ts'

const since7 = { redis: '7.0', valkey: '7.2' }
const isText = suchThat(
  (value: unknown) => Buffer.isBuffer(value) || (typeof value === 'string' && value.length > 0),
)
const isHelp = suchThat(
  (lines: unknown[]) => lines.length > 2 && lines.every((line) => typeof line === 'string'),
)

export const clusterCases: readonly Case[] = [
  row('clusterHelp', '', (r) => r.clusterHelp(), isHelp),
  row('clusterInfo', '', (r) => r.clusterInfo(), isText, { varies: true }),
  row('clusterKeyslot', '', (r) => r.clusterKeyslot('foo'), 12182),
  row('clusterCountkeysinslot', 'SET foo 1', (r) => r.clusterCountkeysinslot(12182), 1),
  row('clusterGetkeysinslot', 'SET foo 1', (r) => r.clusterGetkeysinslot(12182, 5), ['foo']),
  row('clusterLinks', '', (r) => r.clusterLinks(), [], { from: since7 }),
  row('clusterMyid', '', (r) => r.clusterMyid(), isText),
  row('clusterMyshardid', '', (r) => r.clusterMyshardid(), isText, { from: { redis: '7.2', valkey: '7.2' } }),
  row('clusterNodes', '', (r) => r.clusterNodes(), isText, { varies: true }),
  row('clusterSaveconfig', '', (r) => r.clusterSaveconfig(), 'OK'),
  row(
    'clusterSlots',
    '',
    (r) => r.clusterSlots(),
    suchThat(
      ([[from, to, node]]: [[number, number, [string, number, string, object]]]) =>
        from === 0 && to === 16383 && typeof node[1] === 'number' && Object.getPrototypeOf(node[3]) === null,
    ),
  ),
  row(
    'clusterShards',
    '',
    (r) => r.clusterShards(),
    suchThat(
      ([shard]: { slots: number[]; nodes: Record<string, unknown>[] }[]) =>
        shard?.slots[1] === 16383 && String(shard.nodes[0]?.role) === 'master',
    ),
    { from: since7 },
  ),
  row(
    'clusterSlotStats',
    'SET foo 1',
    (r) => r.clusterSlotStats('SLOTSRANGE', 12182, 12182),
    suchThat(
      ([[slot, stats]]: [[number, Record<string, number>]]) => slot === 12182 && stats['key-count'] === 1,
    ),
    { from: { valkey: '8.0' } },
  ),
  row('clusterGetslotmigrations', '', (r) => r.clusterGetslotmigrations(), [], { from: { valkey: '9.0' } }),
  row(
    'clusterscan',
    'SET foo 1',
    (r) => r.clusterscan('0', 'COUNT', 1000),
    suchThat(([cursor, keys]: [string, unknown[]]) => typeof cursor === 'string' && Array.isArray(keys)),
    { from: { valkey: '9.1' } },
  ),
  row('clusterCountFailureReports', '', async (r) => r.clusterCountFailureReports(await r.clusterMyid()), 0),
  row('clusterReplicas', '', async (r) => r.clusterReplicas(await r.clusterMyid()), []),
  row('clusterSlaves', '', async (r) => r.clusterSlaves(await r.clusterMyid()), []),
  row(
    'clusterBumpepoch',
    '',
    (r) => r.clusterBumpepoch(),
    suchThat((it: string) => /^(BUMPED|STILL)/.test(it)),
    { varies: true },
  ),
  row('clusterDelslots', '', async (r) => [await r.clusterDelslots(1), await r.clusterAddslots(1)], [
    'OK',
    'OK',
  ]),
  row('clusterAddslots', '', async (r) => [await r.clusterDelslots(1, 2), await r.clusterAddslots(1, 2)], [
    'OK',
    'OK',
  ]),
  row(
    'clusterDelslotsrange',
    '',
    async (r) => [await r.clusterDelslotsrange(1, 2), await r.clusterAddslotsrange(1, 2)],
    ['OK', 'OK'],
    { from: since7 },
  ),
  row(
    'clusterAddslotsrange',
    '',
    async (r) => [await r.clusterDelslotsrange(1, 2), await r.clusterAddslotsrange(1, 2)],
    ['OK', 'OK'],
    { from: since7 },
  ),
  row('clusterSetslot', '', (r) => r.clusterSetslot(1, 'STABLE'), 'OK'),
  row(
    'pubsubShardnumsub',
    '',
    (r) => r.pubsubShardnumsub(),
    suchThat((it: object) => Object.keys(it).length === 0),
    { from: since7 },
  ),
]
