export {
  Client,
  type ClientEvents,
  type ClientLeaseOptions,
  type CommandOptions,
  CommandView,
  createClient,
} from './client.ts'
export type { Commands } from './commands.gen.ts'
export type { ClientOptions, ClientSentinelOptions } from './options.ts'
export { parseClientList, parseInfo } from './replies-text.ts'
export type * from './replies-types.ts'
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
