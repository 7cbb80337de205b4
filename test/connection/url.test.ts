import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConnectionOptions, parseUrl } from '../../lib/connection/index.ts'

const local = { host: '127.0.0.1' }
const localhost = { host: 'localhost' }

const rows: readonly (readonly [url: string, options: ConnectionOptions])[] = [
  ['redis://', local],
  ['redis:///', local],
  ['redis:///2', { ...local, database: 2 }],
  ['redis://localhost', localhost],
  ['redis://localhost/', localhost],
  ['redis://localhost:6380', { ...localhost, port: 6380 }],
  ['redis://localhost/0', { ...localhost, database: 0 }],
  ['redis://localhost/3', { ...localhost, database: 3 }],
  ['redis://localhost:6379/99', { ...localhost, port: 6379, database: 99 }],
  ['redis://:abc123@localhost', { ...localhost, password: 'abc123' }],
  ['redis://abc123@localhost', { ...localhost, password: 'abc123' }],
  ['redis://:abc123@localhost/1', { ...localhost, password: 'abc123', database: 1 }],
  ['redis://user:password@localhost', { ...localhost, username: 'user', password: 'password' }],
  ['redis://x:@localhost', localhost],
  ['redis://:@localhost', localhost],
  [
    'redis://me%40home:p%3A%2F%40%C3%A9@localhost',
    { ...localhost, username: 'me@home', password: 'p:/@\u00e9' },
  ],
  ['redis://p%40ss@localhost', { ...localhost, password: 'p@ss' }],
  ['redis://[::1]:6380/1', { host: '::1', port: 6380, database: 1 }],
  ['REDIS://localhost', localhost],
  ['valkey://localhost/1', { ...localhost, database: 1 }],
  ['rediss://localhost', { ...localhost, tls: true }],
  ['valkeys://:abc@localhost:1', { ...localhost, port: 1, tls: true, password: 'abc' }],
  ['redis+unix:///run/redis.sock', { path: '/run/redis.sock' }],
  ['valkey+unix:///run/a%20b.sock?database=2', { path: '/run/a b.sock', database: 2 }],
  ['unix:///run/redis.sock', { path: '/run/redis.sock' }],
  ['redis+unix://:abc@/run/redis.sock', { path: '/run/redis.sock', password: 'abc' }],
  ['unix://abc@/run/redis.sock', { path: '/run/redis.sock', password: 'abc' }],
  ['redis+unix://me:abc@/run/redis.sock', { path: '/run/redis.sock', username: 'me', password: 'abc' }],
  [
    'redis://localhost?database=4&protocol=2&connectTimeout=100&commandTimeout=0&maxPending=5&maxPendingBytes=6',
    {
      ...localhost,
      database: 4,
      protocol: 2,
      connectTimeout: 100,
      commandTimeout: 0,
      maxPending: 5,
      maxPendingBytes: 6,
    },
  ],
  ['redis://localhost?clientName=web', { ...localhost, clientName: 'web' }],
  ['redis://localhost?clientName=web@1', { ...localhost, clientName: 'web@1' }],
  ['redis://me:a%23b%2Fc%3Fd@localhost', { ...localhost, username: 'me', password: 'a#b/c?d' }],
  ['redis://db.example.com', { host: 'db.example.com' }],
  ['rediss://[2001:db8::1]:6380', { host: '2001:db8::1', port: 6380, tls: true }],
  ['valkey+unix:///run/@redis.sock', { path: '/run/@redis.sock' }],
]

for (const [url, options] of rows) {
  test(`${url} is ${JSON.stringify(options)}`, () => {
    assert.deepEqual(parseUrl(url), options)
  })
}

test('a URL object is as good as its text', () => {
  assert.deepEqual(parseUrl(new URL('redis://user:password@localhost:1/2')), {
    ...localhost,
    port: 1,
    username: 'user',
    password: 'password',
    database: 2,
  })
})

const wrong: readonly (readonly [url: string, message: RegExp])[] = [
  ['localhost', /^not a URL$/],
  ['', /^not a URL$/],
  ['redis://weird url', /^not a URL$/],
  ['redis://foo:bar:baz', /^not a URL$/],
  ['redis://localhost:65536', /^not a URL$/],
  ['http://www.example.com', /^unknown URL scheme 'http:', expected redis:/],
  ['localhost:6379', /^unknown URL scheme 'localhost:'/],
  ['redis:foo//localhost:6379', /^the URL must start with redis:\/\/$/],
  ['valkey:foo//localhost:6379', /^the URL must start with valkey:\/\/$/],
  ['valkeys:foo//localhost:6379', /^the URL must start with valkeys:\/\/$/],
  ['redis:localhost', /must start with redis:/],
  ['redis://localhost:6379/abc123', /number of a database, got 'abc123'$/],
  ['valkey://localhost:6379/abc123', /number of a database, got 'abc123'$/],
  ['valkeys://localhost:6379/abc123', /number of a database, got 'abc123'$/],
  ['redis://localhost/-1', /number of a database, got '-1'$/],
  ['redis://localhost/1/2', /number of a database, got '1\/2'$/],
  ['redis://localhost?db=1', /^unknown option 'db' in the URL$/],
  ['redis://localhost?password=hunter2', /^unknown option 'password' in the URL$/],
  ['redis://localhost?database=one', /option database must be a number, got 'one'$/],
  ['redis+unix://run/redis.sock', /three slashes/],
  ['redis+unix://me:hunter2@run/redis.sock', /three slashes/],
  ['redis+unix://', /needs a path/],
  ['redis+unix:///', /needs a path/],
  ['redis://me:hunter2%@localhost', /malformed escape/],
  ['redis://me%ff:hunter2@localhost', /malformed escape/],
  ['redis+unix:///run/%ff.sock', /malformed escape/],
  ['redis://me:hunter2@ho st', /^not a URL$/],
  // a password that was not escaped ends the host, and what is left of it must not be shown
  ['redis://me:12#hunter2@localhost', /^the URL has a '#', which is written %23/],
  ['redis://me:12/hunter2@localhost', /number of a database, got something before an '@'/],
  ['redis://me:12/hunter2@localhost?protocol=3', /number of a database, got something before an '@'/],
  ['redis://me:12/hunter2?x@localhost', /number of a database, got something before an '@'/],
  ['redis://me:12?hunter2@localhost', /^unknown option something before an '@'/],
  ['redis://me:12?hunter2=x@localhost', /^unknown option something before an '@'/],
  ['redis://me:12?database=hunter2@localhost', /option database must be a number, got something before/],
  ['redis://:12/hunter2@localhost', /^not a URL$/],
  ['redis+unix:///run/a#b.sock', /^the URL has a '#'/],
]

for (const [url, message] of wrong) {
  test(`${JSON.stringify(url)} is refused without its password`, () => {
    assert.throws(
      () => parseUrl(url),
      (error: Error) => {
        assert.ok(error instanceof TypeError)
        assert.match(error.message, message)
        assert.ok(!`${error.message} ${error.stack} ${String(error.cause)}`.includes('hunter2'))
        return true
      },
    )
  })
}
