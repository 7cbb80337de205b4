// The laws of a failover on real servers, each fault once and short: what must hold on any machine, however busy. The
// figures that a quiet machine is needed for are measured by `npm run test:failover`.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { line } from './report.ts'
import { brokenLaws } from './requirements.ts'
import { DEFAULT_RATE, runScenario } from './run.ts'
import type { Scenario } from './scenario.ts'
import { killMaster, plannedFailover, stopMaster } from './scenarios/index.ts'

const OPTIONS = { rate: DEFAULT_RATE, adoptEarly: true, isShort: true }

for (const [scenario, law] of [
  [killMaster, 'a master that is killed'],
  [plannedFailover, 'a master that is replaced by plan'],
  [stopMaster, 'a master that hangs, and wakes up when it has been replaced'],
] satisfies [Scenario, string][]) {
  test(`${law} breaks no law`, async (t) => {
    const run = await runScenario(scenario, OPTIONS)
    t.diagnostic(line(run))
    assert.deepEqual(brokenLaws(run), [])
    const { figures } = run
    assert.ok(figures !== undefined && figures.reads > 0)
    assert.equal(figures.readsFailed, 0)
    // a sentinel may take a master that it has just got for down: that failover obeys the laws, and is none of ours
    const [phase, ...others] = figures.phases.filter(({ isUnprovoked }) => !isUnprovoked)
    assert.deepEqual(others, [])
    assert.notEqual(phase?.switchedAfterMs, undefined, 'the client followed')
    if (scenario === plannedFailover && figures.phases.length === 1) assert.equal(figures.lostInWindow, 0)
  })
}
