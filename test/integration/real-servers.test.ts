import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually, request, startServer, startTopology, watchSentinel } from '../support/real-servers.ts'
import { tempDir } from '../support/temp-dir.ts'

const alive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false // ESRCH: there is no such process
  }
}

test('a server answers when it is handed out, restarts on its port and is gone with its test', async (t) => {
  let pid = 0
  let dir = ''
  await t.test('its life', async (inner) => {
    const server = await startServer(inner, { args: ['--maxclients', '77'], unixSocket: true })
    assert.equal(await server.cli('PING'), 'PONG')
    assert.match(await server.cli('CONFIG', 'GET', 'maxclients'), /77$/)
    assert.match(server.log(), /Ready to accept connections/)
    const before = server.pid
    await server.restart()
    assert.notEqual(server.pid, before)
    assert.equal(alive(before), false)
    assert.equal(await request(server, 'PING'), 'PONG')
    assert.ok(server.socketPath !== undefined && existsSync(server.socketPath))
    const socket = connect(server.socketPath)
    // open when the server is killed, so that its end may come as a reset
    socket.on('error', () => undefined)
    inner.after(() => {
      socket.destroy()
    })
    await new Promise((resolve) => socket.once('connect', resolve))
    server.signal('SIGSTOP')
    pid = server.pid
    dir = server.dir
  })
  assert.equal(alive(pid), false)
  assert.equal(existsSync(dir), false)
})

test('a server that cannot start says why, with its own words', async (t) => {
  await assert.rejects(startServer(t, { args: ['--no-such-option', '1'] }), /no-such-option/)
  const server = await startServer(t)
  await assert.rejects(startServer(t, { port: server.port }), /address already in use/i)
})

test('a server with a password is reached by cli and request', async (t) => {
  const server = await startServer(t, { password: 'secret' })
  assert.equal(await server.cli('PING'), 'PONG')
  assert.equal(await request(server, 'PING'), 'PONG')
  assert.match(String(await request({ port: server.port }, 'PING')), /NOAUTH/)
})

test('a server with certificates speaks TLS, and only that', async (t) => {
  const dir = tempDir(t)
  const tls = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem'), ca: join(dir, 'cert.pem') }
  const args = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1'
  try {
    execFileSync('openssl', [...args.split(' '), '-keyout', tls.key, '-out', tls.cert], { stdio: 'ignore' })
  } catch {
    return t.skip('there is no openssl to make a certificate with')
  }
  const server = await startServer(t, { tls: { ...tls, authClients: true }, password: 'secret' })
  assert.equal(await request(server, 'PING'), 'PONG')
  assert.equal(await server.cli('PING'), 'PONG')
  await assert.rejects(request({ port: server.port }, 'PING'))
})

test('a topology is complete when handed out, and fails over', async (t) => {
  const { master, replicas, sentinels, name } = await startTopology(t, { replicas: 2, password: 'secret' })
  assert.equal(replicas.length, 2)
  assert.equal(sentinels.length, 3)
  const logs = await Promise.all(sentinels.map((sentinel) => watchSentinel(t, sentinel)))
  await master.stop('SIGKILL')
  await eventually('every sentinel announces the switch', () =>
    logs.every((log) => log.some((event) => event.channel === '+switch-master')),
  )
  const event = logs[0]?.find((it) => it.channel === '+switch-master')
  assert.match(event?.payload ?? '', new RegExp(`^${name} 127.0.0.1 ${master.port} 127.0.0.1 \\d+$`))
  await master.restart()
  assert.equal((await master.cli('ROLE')).split('\n')[0], 'master')
})
