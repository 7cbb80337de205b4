// @ts-check
/**
 * Makes a fresh clone ready to run and to test, and does nothing, quickly, where that is done already:
 * Node's version, the npm packages, the compiled dist/, and a Redis or Valkey server on the machine.
 * `npm run setup` runs all of it; start.js and test.js begin with it.
 *
 * What it brings in it takes from package-lock.json and from the system's own package manager. Decisions
 * are functions of what they are given, so that tests can ask them; what they decide is done in `setup()`.
 */
import { spawnSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The same as `engines` in package.json, which npm only warns about. */
const oldestNode = [20, 19]

/**
 * Runs a Debian package's installation and takes back the one thing it does beyond: a service that is
 * started, on the port of our own master, and started again at every boot. policy-rc.d is Debian's way
 * to say "install, but start nothing"; where there is one already, it stays, and the service is stopped.
 */
const aptScript = `
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  printf '#!/bin/sh\\nexit 101\\n' >"$policy" && chmod 755 "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$1" || exit
if command -v systemctl >/dev/null; then
  [ ! -d /run/systemd/system ] || systemctl stop "$1"
  systemctl -q disable "$1"
elif command -v update-rc.d >/dev/null; then
  service "$1" stop
  update-rc.d "$1" disable
fi
exit 0
`

/**
 * @typedef {object} PackageManager
 * @property {string} program
 * @property {readonly string[]} packages names to try, the usual one of this system first
 * @property {readonly string[]} install the command, to be followed by a package's name
 * @property {readonly string[]} [refresh] brings the lists of packages up to date
 * @property {string} [lists] the folder that has none of them yet on a new machine
 * @property {boolean} [refusesRoot]
 */

/**
 * In the order in which they are looked for. Only Debian's packages start their service; the others
 * leave that to the administrator, as we want it.
 *
 * @type {readonly PackageManager[]}
 */
export const packageManagers = [
  {
    program: 'apt-get',
    packages: ['redis-server', 'valkey-server'],
    install: ['sh', '-c', aptScript, 'sh'],
    refresh: ['apt-get', 'update', '-q'],
    lists: '/var/lib/apt/lists',
  },
  { program: 'dnf', packages: ['valkey', 'redis'], install: ['dnf', 'install', '-y'] },
  { program: 'yum', packages: ['redis', 'valkey'], install: ['yum', 'install', '-y'] },
  // On Alpine redis brings its client, and valkey's is a package of its own.
  {
    program: 'apk',
    packages: ['redis', 'valkey valkey-cli'],
    install: ['apk', 'add'],
    refresh: ['apk', 'update'],
  },
  {
    program: 'pacman',
    packages: ['valkey', 'redis'],
    install: ['pacman', '-S', '--needed', '--noconfirm'],
    refresh: ['pacman', '-Sy'],
  },
  { program: 'zypper', packages: ['redis', 'valkey'], install: ['zypper', '--non-interactive', 'install'] },
  { program: 'brew', packages: ['redis', 'valkey'], install: ['brew', 'install'], refusesRoot: true },
]

/** Something that the user has to put right: its message is for people, no stack needed. */
export class Fault extends Error {
  /** @param {string} message @param {number} [exitCode] */
  constructor(message, exitCode = 1) {
    super(message)
    this.name = 'Fault'
    this.exitCode = exitCode
  }
}

/**
 * Does all that is missing, one line each; says nothing where nothing is.
 *
 * @param {{ needServer?: boolean }} [options] `needServer: false` for what needs no Redis, such as the style check
 */
export function setup({ needServer = true } = {}) {
  const fault = nodeFault(process.versions.node, process.platform)
  if (fault !== undefined) throw new Fault(fault)
  installPackages()
  build()
  if (needServer) provideServer()
}

/**
 * Why this Node cannot run the project, or `undefined`.
 *
 * @param {string} version as in `process.versions.node`
 * @param {NodeJS.Platform} platform
 * @returns {string | undefined}
 */
export function nodeFault(version, platform) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldestMajor = 0, oldestMinor = 0] = oldestNode
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    return `Node ${oldestNode.join('.')} or newer is needed, this is ${version}`
  }
  // The library itself has nothing against Windows; the servers and install.sh do.
  if (platform === 'win32') return 'the servers do not run on Windows itself: use WSL'
  return undefined
}

/**
 * @param {string} name
 * @param {string | undefined} path in the form of the variable PATH
 * @returns {string | undefined} where the program is
 */
export function findProgram(name, path) {
  const candidates = name.includes('/')
    ? [resolve(name)]
    : (path ?? '').split(delimiter).map((folder) => join(folder === '' ? '.' : folder, name))
  return candidates.find(isProgram)
}

/**
 * The server that install.sh would take, by the same rule.
 *
 * @param {Readonly<Record<string, string | undefined>>} env
 * @returns {string | undefined}
 */
export function findServer(env) {
  const chosen = env.RESPOOL_SERVER
  if (chosen !== undefined && chosen !== '') {
    const found = findProgram(chosen, env.PATH)
    if (found === undefined) throw new Fault(`RESPOOL_SERVER: no such program: '${chosen}'`)
    return found
  }
  return findProgram('redis-server', env.PATH) ?? findProgram('valkey-server', env.PATH)
}

/**
 * @typedef {object} Machine
 * @property {(program: string) => boolean} has
 * @property {boolean} isRoot
 * @property {boolean} sudoMayAsk is a terminal there, where sudo can ask for the password?
 * @property {() => boolean} sudoNeedsNothing does sudo work without a password?
 */

/**
 * Which package manager to use, and what has to stand before its commands.
 *
 * @param {Machine} machine
 * @returns {{ manager: PackageManager, prefix: readonly string[] }}
 * @throws {Fault} that says what to install, where we cannot
 */
export function chooseInstaller(machine) {
  const manager = packageManagers.find(({ program }) => machine.has(program))
  if (manager === undefined) {
    throw new Fault(
      'neither redis-server nor valkey-server is installed, and no package manager that is known here: ' +
        'install Redis or Valkey, or name the program in RESPOOL_SERVER (and its client in RESPOOL_CLI)',
    )
  }
  const byHand = `'${manager.program} ${manager.program === 'pacman' ? '-S' : manager.program === 'apk' ? 'add' : 'install'} ${manager.packages[0]}'`
  if (manager.refusesRoot === true) {
    if (machine.isRoot)
      throw new Fault(`${manager.program} does not run as root: run ${byHand} as another user`)
    return { manager, prefix: [] }
  }
  if (machine.isRoot) return { manager, prefix: [] }
  if (machine.has('sudo') && (machine.sudoNeedsNothing() || machine.sudoMayAsk))
    return { manager, prefix: ['sudo'] }
  throw new Fault(
    `neither redis-server nor valkey-server is installed, and that takes root: run ${byHand} as root`,
  )
}

/**
 * What has to be installed anew, told from what npm itself recorded of its last install.
 *
 * @param {LockFile} wanted package-lock.json
 * @param {LockFile | undefined} present node_modules/.package-lock.json
 * @returns {string | undefined} the reason, or `undefined` when nothing has to
 */
export function packagesFault(wanted, present) {
  if (present === undefined) return 'not installed yet'
  for (const [path, entry] of Object.entries(wanted.packages)) {
    // The project itself.
    if (path === '') continue
    const found = present.packages[path]
    // Most of the optional ones are those of other platforms.
    if (found === undefined && entry.optional === true) continue
    const isSame =
      found?.version === entry.version &&
      (found?.integrity ?? entry.integrity) === (entry.integrity ?? found?.integrity)
    if (!isSame) return `${path} is not that of package-lock.json`
  }
  return undefined
}

/**
 * @typedef {object} LockFile
 * @property {Record<string, { version?: string, integrity?: string, optional?: boolean }>} packages
 */

/**
 * The files of a folder and of those in it, as paths from the root.
 *
 * @param {string} folder from the root
 * @returns {string[]} sorted; none where there is no such folder
 */
export function filesIn(folder) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .sort()
}

/** @param {string} source of lib/ or test/, such as test/a.test.ts @returns {string} such as dist/test/a.test.js */
export function compiled(source) {
  return join('dist', source.replace(/\.ts$/, '.js'))
}

/**
 * Runs a program with our own input and output.
 *
 * @param {readonly string[]} command
 * @param {Readonly<Record<string, string | undefined>>} [env]
 * @returns {number} its exit status, 128 and more when a signal ended it
 */
export function run([program = '', ...args], env = process.env) {
  const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', env })
  if (error !== undefined) throw new Fault(`cannot run ${program}: ${error.message}`)
  return status ?? (signal === 'SIGINT' ? 130 : 143)
}

/**
 * Runs the main function of a script, and ends it with a line for the user when it throws a Fault.
 *
 * @param {string} name @param {() => number | Promise<number>} main gives the exit status
 */
export async function runMain(name, main) {
  try {
    process.exitCode = await main()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    console.error(`${name}: ${error.message}`)
    process.exitCode = error.exitCode
  }
}

/** @param {string} url `import.meta.url` @returns {boolean} is this the file that node was started with? */
export function isMain(url) {
  const started = process.argv[1]
  return started !== undefined && existsSync(started) && realpathSync(started) === fileURLToPath(url)
}

function installPackages() {
  const wanted = readLockFile('package-lock.json')
  if (wanted === undefined) throw new Fault('package-lock.json is missing')
  const present = readLockFile('node_modules/.package-lock.json')
  const reason = packagesFault(wanted, present)
  if (reason === undefined) return
  console.log(`setup: npm ci (${reason})`)
  // npm tells what it runs where it is; without it, the one in PATH.
  const npm = process.env.npm_execpath
  const command = npm?.endsWith('npm-cli.js') === true ? [process.execPath, npm] : ['npm']
  const status = run([...command, 'ci', '--no-audit', '--no-fund'])
  if (status !== 0) throw new Fault("'npm ci' failed", status)
}

/** @param {string} path @returns {LockFile | undefined} */
function readLockFile(path) {
  if (!existsSync(join(root, path))) return undefined
  return JSON.parse(readFileSync(join(root, path), 'utf8'))
}

/**
 * Compiles lib/ and test/, and makes the module that is published. The compiler is asked every time: with its
 * notes of the last build it needs 0.2 s to find that nothing has changed, and no rule of ours could know better.
 */
function build() {
  const sources = [...filesIn('lib'), ...filesIn('test')].filter((path) => path.endsWith('.ts'))
  const expected = new Set(sources.map(compiled))
  // It does not look whether what it wrote is still there.
  if (![...expected].every((path) => existsSync(join(root, path))))
    rmSync(join(root, 'dist/.tsbuildinfo'), { force: true })
  // Nor does it remove what it once made of a source that is gone: a test that should not run, or a
  // module that would be published.
  for (const path of [...filesIn('dist/lib'), ...filesIn('dist/test')]) {
    const output = /^(.*)(\.d\.ts|\.js|\.js\.map)$/.exec(path)
    if (output !== null && !expected.has(`${output[1]}.js`)) rmSync(join(root, path))
  }
  const status = run([process.execPath, 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'])
  if (status !== 0) throw new Fault('the build failed', status)
  const bundled = run([process.execPath, 'scripts/bundle.js'])
  if (bundled !== 0) throw new Fault('the bundle failed', bundled)
}

function provideServer() {
  if (findServer(process.env) !== undefined) return
  const { manager, prefix } = chooseInstaller({
    has: (program) => findProgram(program, process.env.PATH) !== undefined,
    isRoot: process.getuid?.() === 0,
    sudoMayAsk: process.stdin.isTTY === true,
    sudoNeedsNothing: () => spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0,
  })
  const attempt = () =>
    manager.packages.some((name) => {
      console.log(`setup: installing ${name} with ${[...prefix, manager.program].join(' ')}`)
      return (
        run([...prefix, ...manager.install, ...name.split(' ')]) === 0 &&
        findServer(process.env) !== undefined
      )
    })
  const hasNoLists =
    manager.lists !== undefined && !readdirSync(manager.lists).some((name) => name.includes('_Packages'))
  if (!hasNoLists && attempt()) return
  if (manager.refresh !== undefined) {
    console.log(`setup: bringing the package lists of ${manager.program} up to date`)
    run([...prefix, ...manager.refresh])
    if (attempt()) return
  }
  throw new Fault(
    `${manager.program} could not install any of ${manager.packages.join(', ')}: install Redis or Valkey by hand`,
  )
}

/** @param {string} path @returns {boolean} */
function isProgram(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    // Not there, or not for us to run: for the search it is the same.
    return false
  }
}

if (isMain(import.meta.url)) {
  await runMain('setup', () => {
    setup()
    console.log(
      `ready: Node ${process.versions.node}, packages and dist/ up to date, server ${findServer(process.env)}`,
    )
    return 0
  })
}
