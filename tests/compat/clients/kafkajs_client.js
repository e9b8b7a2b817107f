// kafkajs: produce, consume, groups, admin, as applications do; contents compared exactly.
// Usage: node kafkajs_client.js BOOTSTRAP PREFIX. Prints one "RESULT {json}" line a test.
'use strict'
const assert = require('node:assert/strict')
const { Kafka, CompressionTypes, logLevel, ConfigResourceTypes } = require('kafkajs')

const [bootstrap, prefix] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'compat', brokers: [bootstrap], logLevel: logLevel.NOTHING })
const admin = kafka.admin()
const topicOf = name => `${prefix}-${name}`
const testMillisMax = 60000
const sleep = millis => new Promise(resolve => setTimeout(resolve, millis))

async function until(what, condition, millis = 30000) {
  const end = Date.now() + millis
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${millis} ms: ${what()}`)
    await sleep(50)
  }
}

// Reads `count` records of a topic in a group of its own choosing, and commits what it read.
async function read(
  topic,
  count,
  { groupId = `${topic}-reader`, fromBeginning = true, partitionsAtOnce = 1 } = {},
) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, maxWaitTimeInMs: 200 })
  const got = []
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning })
  await consumer.run({
    partitionsConsumedConcurrently: partitionsAtOnce,
    eachMessage: async ({ partition, message }) => got.push({ partition, ...message }),
  })
  await until(() => `${count} records of ${topic}, have ${got.length}`, () => got.length >= count)
  await sleep(200)
  await consumer.stop()
  await consumer.disconnect()
  assert.equal(got.length, count)
  return got
}

async function send(topic, messages, more = {}) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...more.producer })
  await producer.connect()
  const answer = await producer.send({
    topic,
    messages,
    acks: more.acks ?? -1,
    compression: more.compression,
  })
  await producer.disconnect()
  return answer
}

async function create(name, numPartitions = 1, configEntries = []) {
  const topic = topicOf(name)
  assert.equal(
    await admin.createTopics({
      topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }],
    }),
    true,
  )
  return topic
}

const numbered = (count, first = 0) =>
  Array.from({ length: count }, (_, i) => ({
    key: `k${first + i}`,
    value: `v${first + i}`,
    partition: 0,
  }))

const tests = {
  async 'produce: key, value, headers, timestamp, nulls come back exactly'() {
    const topic = await create('exact')
    const sent = [
      {
        key: 'a',
        value: 'one',
        headers: { h: 'x', repeated: ['1', '2'] },
        timestamp: '1600000000123',
      },
      { key: null, value: Buffer.from([0, 255, 128]), timestamp: '1600000000124' },
      { key: 'tombstone', value: null, timestamp: '1600000000125' },
      { key: '', value: '', timestamp: '1600000000126' },
    ]
    const [answer] = await send(topic, sent)
    assert.deepEqual([answer.partition, answer.errorCode, answer.baseOffset], [0, 0, '0'])
    const got = await read(topic, 4)
    assert.deepEqual(
      got.map(m => m.offset),
      ['0', '1', '2', '3'],
    )
    assert.deepEqual(
      got.map(m => m.timestamp),
      sent.map(m => m.timestamp),
    )
    assert.deepEqual(
      got.map(m => m.key && m.key.toString()),
      ['a', null, 'tombstone', ''],
    )
    assert.deepEqual([...got[1].value], [0, 255, 128])
    assert.equal(got[2].value, null)
    assert.equal(got[0].headers.h.toString(), 'x')
    assert.deepEqual(got[0].headers.repeated.map(String), ['1', '2'])
  },
  async 'produce: gzip'() {
    const topic = await create('gzip')
    await send(topic, numbered(500), { compression: CompressionTypes.GZIP })
    const got = await read(topic, 500)
    assert.deepEqual(
      got.map(m => m.value.toString()),
      numbered(500).map(m => m.value),
    )
  },
  async 'produce: acks 0 and 1'() {
    const topic = await create('acks')
    await send(topic, numbered(10), { acks: 1 })
    await send(topic, numbered(10, 10), { acks: 0 })
    assert.equal((await read(topic, 20)).at(-1).value.toString(), 'v19')
  },
  async 'produce: idempotent'() {
    const topic = await create('idempotent', 3)
    const producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
    })
    await producer.connect()
    for (let i = 0; i < 20; i++) await producer.send({ topic, messages: numbered(10, i * 10) })
    await producer.disconnect()
    const got = await read(topic, 200)
    assert.deepEqual(
      got.map(m => m.value.toString()),
      numbered(200).map(m => m.value),
    )
  },
  async 'produce: to several topics at once, keys choose partitions'() {
    const topics = [await create('multi-a', 4), await create('multi-b', 4)]
    const producer = kafka.producer({ allowAutoTopicCreation: false })
    await producer.connect()
    const messages = Array.from({ length: 100 }, (_, i) => ({ key: `k${i % 10}`, value: `v${i}` }))
    await producer.sendBatch({ topicMessages: topics.map(topic => ({ topic, messages })) })
    await producer.disconnect()
    for (const topic of topics) {
      const got = await read(topic, 100, { partitionsAtOnce: 4 })
      const home = new Map()
      for (const m of got) {
        const key = m.key.toString()
        assert.equal(home.get(key) ?? m.partition, m.partition)
        home.set(key, m.partition)
      }
      assert.deepEqual(got.map(m => m.value.toString()).sort(), messages.map(m => m.value).sort())
    }
  },
  async 'produce: a topic that does not exist is created'() {
    const topic = topicOf('auto')
    await send(topic, [{ value: 'first' }], { producer: { allowAutoTopicCreation: true } })
    assert.equal((await read(topic, 1))[0].value.toString(), 'first')
  },
  async 'produce: a record too large is refused, the connection lives'() {
    const topic = await create('large')
    await assert.rejects(send(topic, [{ value: Buffer.alloc(2 << 20) }]), {
      type: 'MESSAGE_TOO_LARGE',
    })
    await send(topic, [{ value: Buffer.alloc(900 << 10, 7) }])
    assert.equal((await read(topic, 1))[0].value.length, 900 << 10)
  },
  async 'consume: seek, pause, resume'() {
    const topic = await create('seek')
    await send(topic, numbered(50))
    const consumer = kafka.consumer({ groupId: topicOf('seek-group'), maxWaitTimeInMs: 200 })
    const got = []
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({ eachMessage: async ({ message }) => got.push(Number(message.offset)) })
    consumer.seek({ topic, partition: 0, offset: '40' })
    await until(() => 'the last ten', () => got.includes(49))
    assert.equal(got.filter(offset => offset === 49).length, 1)
    consumer.pause([{ topic }])
    await sleep(500)
    await send(topic, numbered(1, 50))
    await sleep(1000)
    assert.ok(!got.includes(50), 'paused')
    consumer.resume([{ topic }])
    await until(() => 'record 50', () => got.includes(50))
    await consumer.disconnect()
  },
  async 'group: committed offsets survive, a second run goes on'() {
    const topic = await create('resume')
    const groupId = topicOf('resume-group')
    await send(topic, numbered(10))
    await read(topic, 10, { groupId })
    await send(topic, numbered(10, 10))
    const got = await read(topic, 10, { groupId })
    assert.deepEqual(
      got.map(m => m.value.toString()),
      numbered(10, 10).map(m => m.value),
    )
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.deepEqual(
      partitions.map(p => [p.partition, p.offset]),
      [[0, '20']],
    )
  },
  async 'group: two members share, the one left takes all'() {
    const topic = await create('share', 4)
    const groupId = topicOf('share-group')
    const seen = { a: new Set(), b: new Set() }
    const assigned = {}
    const start = async name => {
      const consumer = kafka.consumer({
        groupId,
        sessionTimeout: 10000,
        heartbeatInterval: 500,
        maxWaitTimeInMs: 200,
      })
      consumer.on(consumer.events.GROUP_JOIN, e => {
        assigned[name] = e.payload.memberAssignment[topic] ?? []
      })
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({
        eachMessage: async ({ partition, message }) =>
          seen[name].add(`${partition}/${message.offset}`),
      })
      return consumer
    }
    const a = await start('a')
    await until(() => 'a has all', () => assigned.a?.length === 4)
    const b = await start('b')
    await until(() => '2 and 2', () => assigned.a?.length === 2 && assigned.b?.length === 2)
    assert.deepEqual([...assigned.a, ...assigned.b].sort(), [0, 1, 2, 3])
    const messages = Array.from({ length: 40 }, (_, i) => ({ value: `v${i}`, partition: i % 4 }))
    await send(topic, messages)
    await until(() => 'all 40', () => seen.a.size + seen.b.size === 40)
    assert.deepEqual([seen.a.size, seen.b.size], [20, 20])
    const {
      groups: [group],
    } = await admin.describeGroups([groupId])
    assert.deepEqual(
      [group.state, group.protocolType, group.members.length],
      ['Stable', 'consumer', 2],
    )
    await a.disconnect()
    await until(() => 'b has all', () => assigned.b?.length === 4)
    await b.disconnect()
  },
  async 'admin: cluster, topics, metadata'() {
    const topic = await create('meta', 3)
    const cluster = await admin.describeCluster()
    assert(cluster.brokers.length >= 1)
    assert.ok(cluster.clusterId)
    assert.ok((await admin.listTopics()).includes(topic))
    const {
      topics: [about],
    } = await admin.fetchTopicMetadata({ topics: [topic] })
    assert.deepEqual(about.partitions.map(p => p.partitionId).sort(), [0, 1, 2])
    assert.equal(await admin.createTopics({ topics: [{ topic }] }), false)
    await assert.rejects(admin.createTopics({ topics: [{ topic: 'no/slash' }] }), /create|topic/i)
  },
  async 'admin: createPartitions'() {
    const topic = await create('grow', 1)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
    await until(
      () => '3 partitions',
      async () =>
        (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 3,
    )
    await assert.rejects(admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] }))
  },
  async 'admin: describeConfigs, alterConfigs'() {
    const topic = await create('configs', 1, [{ name: 'retention.ms', value: '3600000' }])
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const value = async name => {
      const {
        resources: [{ configEntries }],
      } = await admin.describeConfigs({ resources: [resource], includeSynonyms: true })
      return configEntries.find(entry => entry.configName === name)?.configValue
    }
    assert.equal(await value('retention.ms'), '3600000')
    assert.equal(await value('cleanup.policy'), 'delete')
    await admin.alterConfigs({
      resources: [{ ...resource, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] }],
    })
    assert.equal(await value('cleanup.policy'), 'compact')
    assert.notEqual(await value('retention.ms'), '3600000')
    await assert.rejects(
      admin.alterConfigs({
        resources: [{ ...resource, configEntries: [{ name: 'no.such', value: '1' }] }],
      }),
    )
  },
  async 'admin: offsets of a topic, by timestamp'() {
    const topic = await create('offsets', 2)
    await send(
      topic,
      [1000, 2000, 3000].map(t => ({ value: 'v', partition: 0, timestamp: String(t) })),
    )
    const all = await admin.fetchTopicOffsets(topic)
    assert.deepEqual(all.map(p => [p.partition, p.low, p.high]).sort(), [
      [0, '0', '3'],
      [1, '0', '0'],
    ])
    const at = await admin.fetchTopicOffsetsByTimestamp(topic, 1500)
    assert.deepEqual(at.map(p => [p.partition, p.offset]).sort(), [
      [0, '1'],
      [1, '0'],
    ])
  },
  async 'admin: deleteTopicRecords'() {
    const topic = await create('purge')
    await send(topic, numbered(10))
    await admin.fetchTopicOffsets(topic) // it looks for the leader in what it already knows
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    assert.deepEqual(
      (await admin.fetchTopicOffsets(topic)).map(p => [p.low, p.high]),
      [['4', '10']],
    )
    assert.deepEqual(
      (await read(topic, 6)).map(m => m.offset),
      ['4', '5', '6', '7', '8', '9'],
    )
  },
  async 'admin: setOffsets, resetOffsets, deleteGroups'() {
    const topic = await create('set')
    const groupId = topicOf('set-group')
    await send(topic, numbered(10))
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] })
    assert.equal((await read(topic, 3, { groupId }))[0].offset, '7')
    await admin.resetOffsets({ groupId, topic, earliest: true })
    assert.equal((await read(topic, 10, { groupId }))[0].offset, '0')
    assert.ok((await admin.listGroups()).groups.some(g => g.groupId === groupId))
    await admin.deleteGroups([groupId])
    assert.ok(!(await admin.listGroups()).groups.some(g => g.groupId === groupId))
  },
  async 'admin: deleteTopics, and the name again from offset 0'() {
    const topic = await create('again')
    await send(topic, numbered(5))
    await admin.deleteTopics({ topics: [topic] })
    await until(() => 'gone', async () => !(await admin.listTopics()).includes(topic))
    await create('again')
    const [answer] = await send(topic, numbered(1))
    assert.equal(answer.baseOffset, '0')
  },
}

async function main() {
  await admin.connect()
  for (const [test, body] of Object.entries(tests)) {
    const started = Date.now()
    let status = 'pass'
    let detail = ''
    try {
      await Promise.race([
        body(),
        sleep(testMillisMax).then(() => {
          throw new Error(`still running after ${testMillisMax} ms`)
        }),
      ])
    } catch (error) {
      status = 'fail'
      detail = `${String(error.stack).slice(0, 1500)}\n${error.name}: ${error.message}`
    }
    console.log(
      `RESULT ${JSON.stringify({ test, status, detail, seconds: (Date.now() - started) / 1000 })}`,
    )
  }
  await admin.disconnect()
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error)
    process.exit(1)
  },
)
