// What protocol/names.c declares, as objects of RabbitMQ's topology operator: node topology.mjs [PREFIX] [SHARDS]
import { stringify } from 'yaml'
import { pathToFileURL } from 'node:url'

const NO_LIMIT = 1000000000
const head = `# Made by tests/kubernetes/topology.mjs from what protocol/names.c declares; make lint compares.
# deletionPolicy retain: an object that is deleted by mistake takes no queue with it.
`

export function topology(prefix, shards) {
  const commands = `${prefix}.commands`, spread = `${commands}.shards`, dlx = `${prefix}.dlx`, dlq = `${prefix}.dlq`
  const cluster = { rabbitmqClusterReference: { name: 'ledger-mq' }, vhost: '/' }
  const object = (kind, name, spec) => ({
    apiVersion: 'rabbitmq.com/v1beta1', kind,
    metadata: { name, labels: { 'app.kubernetes.io/part-of': 'ledger' } },
    spec: { ...cluster, ...spec },
  })
  const dashed = (name) => name.replaceAll('.', '-')
  const exchange = (name, type) =>
    object('Exchange', dashed(name), { name, type, durable: true, autoDelete: false, deletionPolicy: 'retain' })
  const queue = (name, args) => object('Queue', dashed(name),
    { name, type: 'quorum', durable: true, autoDelete: false, deletionPolicy: 'retain', arguments: args })
  const binding = (source, destination, destinationType, routingKey) => object('Binding',
    `${dashed(source)}-to-${dashed(destination)}`, { source, destination, destinationType, routingKey })
  const kept = { 'x-overflow': 'reject-publish', 'x-delivery-limit': NO_LIMIT }
  const names = [...Array(shards).keys()].map((shard) => `${commands}.${shard}`)
  return head + [
    exchange(commands, 'topic'), exchange(spread, 'x-modulus-hash'), exchange(`${prefix}.events`, 'topic'), exchange(dlx, 'topic'),
    ...names.map((name) => queue(name, { 'x-single-active-consumer': true, ...kept,
      'x-dead-letter-exchange': dlx, 'x-dead-letter-strategy': 'at-least-once' })),
    queue(dlq, kept),
    ...names.map((name) => binding(spread, name, 'queue', 'shard')),
    binding(commands, spread, 'exchange', '#'), binding(dlx, dlq, 'queue', '#'),
  ].map((one) => stringify(one)).join('---\n')
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  process.stdout.write(topology(process.argv[2] ?? 'ledger', Number(process.argv[3] ?? 8)))
