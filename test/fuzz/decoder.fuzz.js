// The target of a guided run: what two decoders make of one input. See run.js.
//
//   input = how(1 byte) seed(1 byte) wire       how: bit 0 = bulk strings as bytes, bit 1 = tight limits
//                                                seed: of the places where the wire is cut

import { defaultLimits } from '../../dist/lib/resp/index.js'
import { compareDecoders, tightLimits } from '../../dist/test/support/differential.js'
import { randomCuts } from '../../dist/test/support/mutate.js'
import { randomNumbers } from '../../dist/test/support/random-numbers.js'

/** @param {Buffer} input */
export function fuzz(input) {
  if (input.length < 2) return
  const [how = 0, seed = 0] = input
  const wire = Buffer.from(input.subarray(2))
  compareDecoders(wire, {
    asBytes: (how & 1) !== 0,
    limits: (how & 2) !== 0 ? tightLimits : defaultLimits,
    cuts: randomCuts(randomNumbers(seed), wire.length),
  })
}
