// What a connection says first. Everything leaves in one write, so that a connection costs one round trip:
//
//   HELLO 3 [AUTH user password] [SETNAME name]   CLIENT SETINFO …   [SELECT database]
//
// A server that does not know HELLO, or not version 3, gets a second round in RESP2:
//
//   [AUTH [user] password]   [CLIENT SETNAME name]   [SELECT database]
//
// Sources: https://redis.io/docs/latest/commands/hello/ and …/client-setinfo/.

import { ReplyError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import type { Credentials } from './options.ts'

/** What is asked of the server, and with which right. */
export interface HandshakeRequest {
  readonly protocol: 2 | 3
  readonly credentials: Credentials | undefined
  readonly clientName: string | undefined
  readonly database: number
}

/** What the server says of the connection. */
export interface Greeting {
  /** Version of RESP that is spoken from then on. */
  readonly protocol: 2 | 3
  /** The server's number of the connection; `undefined` where HELLO told none. */
  readonly id: number | undefined
}

/** The step that the server refused; the connection makes an error of it that names the address. */
export class RefusedStep {
  readonly step: string
  readonly reply: ReplyError

  constructor(step: string, reply: ReplyError) {
    this.step = step
    this.reply = reply
  }
}

/** Refusals of HELLO that mean "not this version" rather than "not you": old servers, proxies, narrow ACLs. */
const NO_HELLO = /^(NOPROTO|NOPERM|ERR unknown command|ERR unknown or unsupported|ERR Syntax error in HELLO)/i

const IN_RESP2: Greeting = { protocol: 2, id: undefined }

/** Gives a command to the connection and the promise of its reply. */
export type Send = (command: readonly Argument[]) => Promise<Reply>

/**
 * Goes through the handshake.
 *
 * @throws {RefusedStep} or whatever ended the connection
 */
export async function handshake(send: Send, request: HandshakeRequest): Promise<Greeting> {
  if (request.protocol === 2) return await speakResp2(send, request)
  const hello: Argument[] = ['HELLO', 3]
  const { credentials, clientName } = request
  if (credentials !== undefined) hello.push('AUTH', credentials.username ?? 'default', credentials.password)
  if (clientName !== undefined) hello.push('SETNAME', clientName)
  const commands: Argument[][] = [
    hello,
    ['CLIENT', 'SETINFO', 'LIB-NAME', LIBRARY_NAME],
    ['CLIENT', 'SETINFO', 'LIB-VER', LIBRARY_VERSION],
  ]
  if (request.database !== 0) commands.push(['SELECT', request.database])
  const answers = sendAll(send, commands)
  const greeting = await answers[0]
  if (greeting instanceof ReplyError && !NO_HELLO.test(greeting.message)) {
    throw refusal(credentials === undefined ? 'HELLO' : 'HELLO with AUTH', greeting, request)
  }
  const [, , , selected] = await Promise.all(answers)
  if (greeting instanceof ReplyError) return await speakResp2(send, request)
  if (selected instanceof ReplyError) throw refusal(`SELECT ${request.database}`, selected, request)
  // a server that says yes and speaks RESP2 all the same has no map to greet with
  if (!(greeting instanceof Map)) return IN_RESP2
  const id = greeting.get('id')
  return { protocol: 3, id: typeof id === 'number' ? id : undefined }
}

async function speakResp2(send: Send, request: HandshakeRequest): Promise<Greeting> {
  const { credentials, clientName, database } = request
  const steps: [name: string, command: Argument[]][] = []
  if (credentials !== undefined) {
    const { username, password } = credentials
    steps.push(['AUTH', username === undefined ? ['AUTH', password] : ['AUTH', username, password]])
  }
  if (clientName !== undefined) steps.push(['CLIENT SETNAME', ['CLIENT', 'SETNAME', clientName]])
  if (database !== 0) steps.push([`SELECT ${database}`, ['SELECT', database]])
  const answers = sendAll(
    send,
    steps.map(([, command]) => command),
  )
  for (const [i, [name]] of steps.entries()) {
    const reply = await answers[i]
    if (reply instanceof ReplyError) throw refusal(name, reply, request)
  }
  return IN_RESP2
}

/**
 * Each answer can be waited for on its own, or not at all: a server that has no room for us, or does not want us,
 * answers the first command and closes, and then its word counts, not what became of the other commands.
 */
function sendAll(send: Send, commands: readonly Argument[][]): Promise<Reply>[] {
  const answers = commands.map((command) => answer(send(command)))
  for (const one of answers) one.catch(() => undefined)
  return answers
}

/** Servers repeat the arguments of a command they do not know; the password is not to be among them. */
function refusal(step: string, reply: ReplyError, { credentials }: HandshakeRequest): RefusedStep {
  let message = reply.message.replace(/,? with args beginning with:.*/s, '')
  if (credentials !== undefined && credentials.password !== '') {
    message = message.replaceAll(credentials.password, '<password>')
  }
  return new RefusedStep(step, message === reply.message ? reply : new ReplyError(message))
}

/** An error reply as a value, so that one of several is not left without a handler. */
async function answer(reply: Promise<Reply>): Promise<Reply> {
  try {
    return await reply
  } catch (error) {
    if (error instanceof ReplyError) return error
    throw error
  }
}

export const LIBRARY_NAME = 'respool'
/** Kept equal to package.json by a test. */
export const LIBRARY_VERSION = '0.1.0'
