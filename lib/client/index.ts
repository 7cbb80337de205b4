export { Client, type ClientLeaseOptions, type CommandOptions, CommandView, createClient } from './client.ts'
export type { ClientOptions, ClientSentinelOptions } from './options.ts'
export type { SessionOptions } from './session.ts'
