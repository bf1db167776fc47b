// The strict check of k8s/: renders every overlay and looks at all of it. Exit code 1: faults, which it prints.
import { readFileSync } from 'node:fs'
import { monitoringFaults } from './monitoring.mjs'
import { referenceFaults } from './references.mjs'
import { named, overlays, podOf, render, root } from './render.mjs'
import { HABITS, STANDARD, podFaults } from './restricted.mjs'
import { scanFaults } from './scan.mjs'
import { schemaFaults } from './schema.mjs'
import { topology } from './topology.mjs'

const rendered = overlays.map((overlay) => ({ overlay, objects: render(overlay) }))
const faults = await schemaFaults(rendered)
let pods = 0
for (const { overlay, objects } of rendered) {
  faults.push(...referenceFaults(overlay, objects))
  for (const object of objects.filter(podOf)) {
    pods += 1
    for (const fault of podFaults(podOf(object), { ...STANDARD, ...HABITS })) faults.push(`${overlay}: ${named(object)}: ${fault}`)
  }
}
const shards = Number(/^LEDGER_SHARDS=(\d+)$/m.exec(readFileSync(`${root}k8s/base/settings.env`, 'utf8'))[1])
const made = readFileSync(`${root}k8s/components/rabbitmq-operators/topology.yaml`, 'utf8')
if (made !== topology('ledger', shards)) faults.push('k8s/components/rabbitmq-operators/topology.yaml is not what topology.mjs makes')
const version = /LEDGER_VERSION "(.*)"/.exec(readFileSync(`${root}base/version.h`, 'utf8'))[1]
for (const file of ['k8s/overlays/dev/kustomization.yaml', 'k8s/overlays/production/kustomization.yaml', 'compose.yaml', 'Dockerfile', 'CHANGELOG.md'])
  if (!readFileSync(root + file, 'utf8').includes(version)) faults.push(`${file}: the version is ${version}`)
faults.push(...monitoringFaults(), ...(await scanFaults(rendered)))

for (const fault of faults) console.log(fault)
if (faults.length > 0) process.exit(1)
console.log(`kubernetes: ${rendered.reduce((sum, one) => sum + one.objects.length, 0)} objects in ${overlays.length} overlays and ${pods} pods are as they should be`)
