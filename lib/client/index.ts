export { Client, createClient } from './client.ts'
export type { ClientEvents, ConnectEvent, DisconnectEvent } from './client-events.ts'
export type { Commands } from './commands.gen.ts'
export type { ClientLeaseOptions } from './lease-options.ts'
export type { ClientOptions, ClientSentinelOptions } from './options.ts'
export type { Pipeline, PipelineKind, SettledResults } from './pipeline.ts'
export { parseClientList, parseInfo } from './replies-text.ts'
export type * from './replies-types.ts'
export type { ClientStats } from './router.ts'
export type { ScanIterator } from './scan.ts'
export type { HashScanOptions, KeyScanOptions, ScanOptions } from './scan-options.ts'
export type { Script } from './script.ts'
export type { FunctionCall } from './script-call.ts'
export type { FunctionCalls } from './script-library.ts'
export type {
  FunctionOptions,
  FunctionTable,
  KeyCount,
  Keys,
  LibraryOptions,
  ScriptOptions,
} from './script-options.ts'
export type { SessionOptions } from './session.ts'
export type { MessageListener } from './subscribers.ts'
export type { Subscription } from './subscription.ts'
export type { SubscriptionIterator } from './subscription-iterator.ts'
export type {
  Gap,
  Overflow,
  Payload,
  Replies,
  SubscribeOptions,
  SubscriptionOptions,
} from './subscription-options.ts'
export type { Message } from './subscription-queue.ts'
export type { Transaction, TransactionEnd, TransactionResult } from './transaction.ts'
export type { TransactionOptions } from './transaction-run.ts'
export { CommandView } from './view.ts'
export type { CommandOptions } from './view-options.ts'
