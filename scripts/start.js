// @ts-check
/**
 * `npm start`: the whole demonstration in one command. Prepares the clone, starts the five servers and
 * then the demo server, and tells what to try. Ctrl-C ends the demo; the servers stay, for another run
 * and for looking at their logs, until `sh install.sh stop`.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { Fault, findProgram, root, run, runMain, setup } from './setup.js'

/**
 * One Ctrl-C can arrive twice: from the terminal, and from npm, which passes on what it got. Only what
 * comes later than this, in ms, is a second wish.
 */
const sameWishMs = 1000

/** @type {readonly NodeJS.Signals[]} */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']

await runMain('start', async () => {
  setup()
  const status = run(['sh', 'install.sh', 'start'])
  if (status !== 0) throw new Fault('the servers did not start', status)

  const { ports, logs } = laidOut()
  console.log(whatToTry(ports, logs, process.env.PORT ?? '3333'))
  const code = await runDemo({ ...process.env, RESPOOL_PORTS: ports.join(' ') })
  console.log("\nthe servers keep running; 'sh install.sh stop' ends them")
  return code
})

/**
 * The ports of the servers that run, and their logs, from what install.sh wrote down.
 *
 * @returns {{ ports: string[], logs: string[] }} master, replica, three sentinels
 */
function laidOut() {
  const chosen = process.env.RESPOOL_RUN_DIR
  const file = join(chosen ? resolve(root, chosen) : join(root, '.run'), 'servers')
  if (!existsSync(file)) throw new Fault(`${file} is missing`)
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  const parts = lines.map((line) => /^[a-z]+ (\d+) (.*)$/.exec(line))
  return { ports: parts.map((part) => part?.[1] ?? ''), logs: parts.map((part) => part?.[2] ?? '') }
}

/** @param {string[]} ports @param {string[]} logs @param {string} port the demo's @returns {string} */
function whatToTry([master, replica, sentinel], logs, port) {
  const url = `http://127.0.0.1:${port}/`
  const cli = findProgram('redis-cli', process.env.PATH) === undefined ? 'valkey-cli' : 'redis-cli'
  const rows = [
    [`curl ${url}`, 'writes to the master, reads from the replica'],
    [`curl ${url}stats`, 'what the pools did'],
    [`ab -c 10 -n 20 ${url}`, 'twenty requests, ten at a time,'],
    [`netstat -anp | grep ${replica}`, `and over how few connections (or: ss -tnp | grep ${replica})`],
    [`${cli} -p ${master} shutdown nosave`, 'the master goes; keep asking the demo'],
    [`${cli} -p ${sentinel} sentinel master localmaster`, 'who is master now'],
    [`tail -f ${logs[2] ?? ''}`, 'the failover, as a sentinel tells it'],
    [`sh install.sh restart ${master}`, 'the old master comes back, and becomes a replica'],
    ['sh install.sh status', 'the five servers'],
  ]
  const width = Math.max(...rows.map(([command]) => command?.length ?? 0))
  const lines = rows.map(([command, effect]) => `  ${command?.padEnd(width)}  ${effect}`)
  return `\nthe demo comes up on ${url}; in another terminal:\n\n${lines.join('\n')}\n\nCtrl-C ends the demo.\n`
}

/**
 * Runs the demo until it ends. It is put into a process group of its own, where no Ctrl-C of the
 * terminal reaches it, and gets each wish to end once, from here.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>} its exit status
 */
function runDemo(env) {
  return new Promise((done, fail) => {
    const demo = spawn(process.execPath, ['--enable-source-maps', 'examples/server.js'], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env,
      detached: true,
    })
    /** @type {number | undefined} */
    let wishedAt
    for (const signal of signals) {
      process.on(signal, () => {
        const now = performance.now()
        if (wishedAt === undefined) demo.kill(signal)
        else if (now - wishedAt > sameWishMs) demo.kill('SIGKILL')
        else return
        wishedAt = now
      })
    }
    demo.once('error', fail)
    demo.once('exit', (code, signal) => done(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
  })
}
