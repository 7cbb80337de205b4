// Typed commands on places and streams: a row for each method, with the value it must give in both protocols.

import { type Case, row, suchThat } from './typed-cases.ts'

const places = 'GEOADD g 13.361389 38.115556 p 15.087269 37.502669 c'
const stream = 'XADD s 1-1 a 1 b 2; XADD s 2-1 __proto__ 3'
const group = `${stream}; XGROUP CREATE s grp 0`
const delivered = `${group}; XREADGROUP GROUP grp me COUNT 1 STREAMS s >`
const [first, second] = [
  { id: '1-1', fields: { a: '1', b: '2' } },
  { id: '2-1', fields: JSON.parse('{"__proto__":"3"}') },
]
const position = [13.361389338970184, 38.1155563954963]
const vectors = 'VADD v VALUES 2 1 0 east NOQUANT SETATTR {"x":1}; VADD v VALUES 2 0 1 north NOQUANT'
const redis8 = { redis: '8.0' }
const since7 = { redis: '7.0', valkey: '7.2' }

export const structureCases: readonly Case[] = [
  // places
  row('geoadd', '', (r) => r.geoadd('g', 'NX', 13.36, 38.11, 'p'), 1),
  row('geodist', places, (r) => r.geodist('g', 'p', 'c', 'km'), 166.2742),
  row('geodist', places, (r) => r.geodist('g', 'p', 'x'), null),
  row('geohash', places, (r) => r.geohash('g', 'p', 'x'), ['sqc8b49rny0', null]),
  row('geopos', places, (r) => r.geopos('g', 'p', 'x'), [position, null]),
  row('georadius', places, (r) => r.georadius('g', 15, 37, 200, 'km', 'ASC'), ['c', 'p']),
  row('georadius', places, (r) => r.georadius('g', 15, 37, 200, 'km', 'WITHDIST', 'COUNT', 1), [
    { member: 'c', distance: 56.4413 },
  ]),
  row('georadius', places, (r) => r.georadius('g', 15, 37, 200, 'km', 'STORE', 'WITHDIST'), 2),
  row('georadiusRo', places, (r) => r.georadiusRo('g', 15, 37, 100, 'km', 'WITHHASH'), [
    { member: 'c', hash: 3479447370796909 },
  ]),
  row(
    'georadiusbymember',
    places,
    (r) => r.georadiusbymember('g', 'p', 1, 'M', 'WITHCOORD', 'WITHDIST', 'WITHHASH'),
    [{ member: 'p', distance: 0, hash: 3479099956230698, position }],
  ),
  row('georadiusbymember', places, (r) => r.georadiusbymember('g', 'p', 1, 'M'), ['p']),
  row('georadiusbymemberRo', places, (r) => r.georadiusbymemberRo('g', 'p', 1, 'M', 'WITHCOORD'), [
    { member: 'p', position },
  ]),
  row('geosearch', places, (r) => r.geosearch('g', 'FROMMEMBER', 'p', 'BYRADIUS', 200, 'km', 'DESC'), [
    'c',
    'p',
  ]),
  row(
    'geosearch',
    places,
    (r) =>
      r.geosearch('g', 'FROMLONLAT', 15, 37, 'BYBOX', 400, 400, 'km', 'ASC', 'COUNT', 1, 'ANY', 'WITHDIST'),
    suchThat(([place, more]: { distance: number }[]) => more === undefined && Number(place?.distance) > 50),
  ),
  row(
    'geosearchstore',
    places,
    (r) => r.geosearchstore('t', 'g', 'FROMMEMBER', 'p', 'BYRADIUS', 200, 'km', 'STOREDIST'),
    2,
  ),

  // streams
  row('xack', delivered, (r) => r.xack('s', 'grp', '1-1', '2-1'), 1),
  row('xadd', '', (r) => r.xadd('s', '1-1', 'a', 1), '1-1'),
  row('xadd', '', (r) => r.xadd('s', 'NOMKSTREAM', 'MAXLEN', '~', 10, '*', 'a', 1), null),
  row(
    'xautoclaim',
    delivered,
    (r) => r.xautoclaim('s', 'grp', 'you', 0, '0', 'COUNT', 5),
    ['0-0', [first], []],
    { from: since7 },
  ),
  row(
    'xautoclaim',
    delivered,
    (r) => r.xautoclaim('s', 'grp', 'you', 0, '0', 'JUSTID'),
    ['0-0', ['1-1'], []],
    { from: since7 },
  ),
  row(
    'xautoclaim',
    `${delivered}; XDEL s 1-1`,
    (r) => r.xautoclaim('s', 'grp', 'you', 0, '0'),
    ['0-0', [], ['1-1']],
    { from: since7 },
  ),
  row('xclaim', delivered, (r) => r.xclaim('s', 'grp', 'you', 0, '1-1'), [first]),
  row('xclaim', delivered, (r) => r.xclaim('s', 'grp', 'you', 0, '1-1', 'JUSTID'), ['1-1']),
  row('xdel', stream, (r) => r.xdel('s', '1-1'), 1),
  row('xgroupCreate', stream, (r) => r.xgroupCreate('s', 'g2', '$', 'MKSTREAM'), 'OK'),
  row('xgroupCreateconsumer', group, (r) => r.xgroupCreateconsumer('s', 'grp', 'me'), 1),
  row('xgroupDelconsumer', delivered, (r) => r.xgroupDelconsumer('s', 'grp', 'me'), 1),
  row('xgroupDestroy', group, (r) => r.xgroupDestroy('s', 'grp'), 1),
  row('xgroupSetid', group, (r) => r.xgroupSetid('s', 'grp', '1-1'), 'OK'),
  row(
    'xinfoConsumers',
    delivered,
    (r) => r.xinfoConsumers('s', 'grp'),
    suchThat(
      ([me]: { name: string; pending: number; idle: number }[]) =>
        String(me?.name) === 'me' && me?.pending === 1 && me.idle >= 0,
    ),
    { varies: true },
  ),
  row(
    'xinfoGroups',
    delivered,
    (r) => r.xinfoGroups('s'),
    [{ name: 'grp', consumers: 1, pending: 1, 'last-delivered-id': '1-1', 'entries-read': 1, lag: 1 }],
    { from: since7 },
  ),
  row(
    'xinfoStream',
    stream,
    (r) => r.xinfoStream('s'),
    {
      length: 2,
      'radix-tree-keys': 1,
      'radix-tree-nodes': 2,
      'last-generated-id': '2-1',
      'max-deleted-entry-id': '0-0',
      'entries-added': 2,
      'recorded-first-entry-id': '1-1',
      groups: 0,
      'first-entry': first,
      'last-entry': second,
    },
    { from: since7 },
  ),
  row(
    'xinfoStream',
    'XGROUP CREATE s grp 0 MKSTREAM',
    (r) => r.xinfoStream('s'),
    suchThat(
      (it: Record<string, unknown>) =>
        it['first-entry'] === null && it['last-entry'] === null && it.groups === 1,
    ),
  ),
  row(
    'xinfoStream',
    delivered,
    (r) => r.xinfoStream('s', 'FULL', 'COUNT', 1),
    suchThat(
      (it: {
        entries: unknown[]
        groups: { pending: unknown[]; consumers: { name: string; pending: unknown[][] }[] }[]
      }) =>
        it.entries.length === 1 &&
        it.groups[0]?.pending.length === 1 &&
        String(it.groups[0].consumers[0]?.name) === 'me' &&
        String(it.groups[0].consumers[0]?.pending[0]?.[0]) === '1-1',
    ),
    { varies: true },
  ),
  row('xlen', stream, (r) => r.xlen('s'), 2),
  row('xpending', group, (r) => r.xpending('s', 'grp'), { count: 0, min: null, max: null, consumers: [] }),
  row('xpending', delivered, (r) => r.xpending('s', 'grp'), {
    count: 1,
    min: '1-1',
    max: '1-1',
    consumers: [['me', 1]],
  }),
  row(
    'xpending',
    delivered,
    (r) => r.xpending('s', 'grp', 'IDLE', 0, '-', '+', 10, 'me'),
    suchThat(
      ([[id, consumer, idle, count]]: [[string, string, number, number]]) =>
        String(id) === '1-1' && String(consumer) === 'me' && idle >= 0 && count === 1,
    ),
    { varies: true },
  ),
  row('xrange', stream, (r) => r.xrange('s', '-', '+', 'COUNT', 1), [first]),
  row('xrange', '', (r) => r.xrange('s', '-', '+'), []),
  row('xread', stream, (r) => r.xread('STREAMS', 's', 't', 0, 0), [{ key: 's', entries: [first, second] }]),
  row('xread', '', (r) => r.xread('COUNT', 1, 'STREAMS', 's', 0), null),
  row('xread', '', (r) => r.xread('BLOCK', 10, 'STREAMS', 's', 0), null),
  row('xreadgroup', group, (r) => r.xreadgroup('GROUP', 'grp', 'me', 'COUNT', 1, 'STREAMS', 's', '>'), [
    { key: 's', entries: [first] },
  ]),
  row(
    'xreadgroup',
    `${delivered}; XDEL s 1-1`,
    (r) => r.xreadgroup('GROUP', 'grp', 'me', 'STREAMS', 's', 0),
    [{ key: 's', entries: [{ id: '1-1', fields: null }] }],
  ),
  row('xrevrange', stream, (r) => r.xrevrange('s', '+', '-'), [second, first]),
  row('xsetid', stream, (r) => r.xsetid('s', '3-1'), 'OK'),
  row('xtrim', stream, (r) => r.xtrim('s', 'MAXLEN', '=', 1), 1),

  // vector sets
  row(
    'vadd',
    '',
    (r) => r.vadd('v', 'VALUES', 2, 1, 0.5, 'a', 'CAS', 'Q8', 'EF', 10, 'SETATTR', '{}', 'M', 8),
    1,
    {
      from: redis8,
    },
  ),
  row('vadd', vectors, (r) => r.vadd('v', 'FP32', new Uint8Array(8), 'east', 'NOQUANT'), 0, { from: redis8 }),
  row('vadd', '', (r) => r.vadd('v', 'REDUCE', 1, 'VALUES', 2, 1, 0.5, 'a'), 1, { from: redis8 }),
  row('vcard', vectors, (r) => r.vcard('v'), 2, { from: redis8 }),
  row('vdim', vectors, (r) => r.vdim('v'), 2, { from: redis8 }),
  row('vemb', vectors, (r) => r.vemb('v', 'east'), [1, 0], { from: redis8 }),
  row('vemb', vectors, (r) => r.vemb('v', 'west'), null, { from: redis8 }),
  row(
    'vemb',
    'VADD v VALUES 2 0 2 north',
    (r) => r.vemb('v', 'north', 'RAW'),
    suchThat(
      ([kind, bytes, norm, range]: [string, string, number, number]) =>
        kind === 'int8' && bytes.length === 2 && norm === 2 && range === 1,
    ),
    { from: redis8 },
  ),
  row('vgetattr', vectors, (r) => r.vgetattr('v', 'east'), '{"x":1}', { from: redis8 }),
  row('vgetattr', vectors, (r) => r.vgetattr('v', 'north'), null, { from: redis8 }),
  row(
    'vinfo',
    vectors,
    (r) => r.vinfo('v'),
    suchThat((it: Record<string, unknown>) => it['quant-type'] === 'f32' && it['vector-dim'] === 2),
    { from: redis8, varies: true },
  ),
  row('vinfo', '', (r) => r.vinfo('v'), null, { from: redis8 }),
  row('vismember', vectors, (r) => r.vismember('v', 'west'), 0, { from: redis8 }),
  // how many layers there are is left to chance
  row(
    'vlinks',
    vectors,
    async (r) => String((await r.vlinks('v', 'east'))?.find((it) => it.length > 0)),
    'north',
    {
      from: redis8,
    },
  ),
  row(
    'vlinks',
    vectors,
    async (r) => Object.fromEntries((await r.vlinks('v', 'east', 'WITHSCORES'))?.flat() ?? []),
    { north: 0.5 },
    { from: redis8 },
  ),
  row('vlinks', '', (r) => r.vlinks('v', 'east', 'WITHSCORES'), null, { from: redis8 }),
  row('vrandmember', '', (r) => r.vrandmember('v'), null, { from: redis8 }),
  row('vrandmember', vectors, (r) => r.vrandmember('v', 0), [], { from: redis8 }),
  row('vrem', vectors, (r) => r.vrem('v', 'east'), 1, { from: redis8 }),
  row('vsetattr', vectors, (r) => r.vsetattr('v', 'north', '{}'), 1, { from: redis8 }),
  row('vsim', vectors, (r) => r.vsim('v', 'VALUES', 2, 1, 0.5, 'TRUTH'), ['east', 'north'], { from: redis8 }),
  row(
    'vsim',
    vectors,
    (r) => r.vsim('v', 'ELE', 'east', 'WITHSCORES'),
    [
      ['east', 1],
      ['north', 0.5],
    ],
    { from: redis8 },
  ),
  row('vsim', vectors, (r) => r.vsim('v', 'ELE', 'east', 'WITHSCORES', 'FILTER', '.x == 2'), [], {
    from: redis8,
  }),
]
