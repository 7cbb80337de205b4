export { Decoder } from './decoder.ts'
export { checkCommand, Encoder, encodeCommand } from './encoder.ts'
export { type Argument, type DecoderLimits, defaultLimits, type Reply } from './types.ts'
