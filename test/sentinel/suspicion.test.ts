import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Suspicion } from '../../lib/sentinel/suspicion.ts'

const ACCUSER = '127.0.0.1:26379'
const OTHER = '127.0.0.1:26380'
const yes = async () => true
const no = async () => false

test('there is none until it is raised, and none after it was dropped', () => {
  const suspicion = new Suspicion()
  assert.equal(suspicion.isOn, false)
  suspicion.accuse(ACCUSER, 1_000)
  assert.equal(suspicion.isOn, true)
  suspicion.drop()
  assert.equal(suspicion.isOn, false)
})

test('an accusation ends when its sentinel was heard afterwards and the master says that it is one', async () => {
  const suspicion = new Suspicion()
  suspicion.accuse(ACCUSER, 1_000)
  await suspicion.reconsider(performance.now(), [ACCUSER, OTHER], no)
  assert.equal(suspicion.isOn, true)
  await suspicion.reconsider(performance.now(), [ACCUSER], yes)
  assert.equal(suspicion.isOn, false)
})

test('an answer that was asked for before the accusation does not end it', async () => {
  const suspicion = new Suspicion()
  const askedAt = performance.now() - 1
  suspicion.accuse(ACCUSER, 1_000)
  await suspicion.reconsider(askedAt, [ACCUSER, OTHER], yes)
  assert.equal(suspicion.isOn, true)
})

test('the answers of others do not end it', async () => {
  const suspicion = new Suspicion()
  suspicion.accuse(ACCUSER, 1_000)
  await suspicion.reconsider(performance.now(), [OTHER], yes)
  assert.equal(suspicion.isOn, true)
})

test('an accusation that nobody confirms ends with its time, a refusal of the master does not', async (t) => {
  const accused = new Suspicion()
  const convicted = new Suspicion()
  accused.accuse(ACCUSER, 1_000)
  convicted.convict()
  const now = performance.now()
  t.mock.method(performance, 'now', () => now + 10_000)
  await accused.reconsider(now, [], no)
  await convicted.reconsider(now, [], no)
  assert.equal(accused.isOn, false)
  assert.equal(convicted.isOn, true)
})

test('what the master refused it can take back, whether sentinels can be asked or not', async () => {
  const suspicion = new Suspicion()
  suspicion.convict()
  suspicion.accuse(ACCUSER, 1_000) // the longer one counts
  await suspicion.reconsider(performance.now(), [], yes)
  assert.equal(suspicion.isOn, false)
})

test('a suspicion that is raised while the master is asked about an earlier one stays', async () => {
  const suspicion = new Suspicion()
  suspicion.accuse(ACCUSER, 1_000)
  await suspicion.reconsider(performance.now(), [ACCUSER], async () => {
    suspicion.convict()
    return true
  })
  assert.equal(suspicion.isOn, true)
})
