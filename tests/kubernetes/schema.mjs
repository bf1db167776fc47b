// Every object against its JSON schema (types, required fields, patterns), and as a literal of its TypeScript type, which
// refuses what a schema of Kubernetes lets through: a field that is misspelt. A kind that is in no table is a fault.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { named, root } from './render.mjs'

const core = (group) => ({ module: `kubernetes-models/${group}`, schema: true })
const custom = (name, group) => ({ module: `@kubernetes-models/${name}/${group}`, schema: true })
const KINDS = {
  'v1/Namespace': core('v1'), 'v1/ServiceAccount': core('v1'), 'v1/ConfigMap': core('v1'), 'v1/Secret': core('v1'),
  'v1/Service': core('v1'), 'apps/v1/Deployment': core('apps/v1'), 'batch/v1/Job': core('batch/v1'),
  'policy/v1/PodDisruptionBudget': core('policy/v1'), 'autoscaling/v2/HorizontalPodAutoscaler': core('autoscaling/v2'),
  'networking.k8s.io/v1/Ingress': core('networking.k8s.io/v1'),
  'networking.k8s.io/v1/NetworkPolicy': core('networking.k8s.io/v1'),
  'keda.sh/v1alpha1/ScaledObject': custom('keda', 'keda.sh/v1alpha1'),
  'keda.sh/v1alpha1/TriggerAuthentication': custom('keda', 'keda.sh/v1alpha1'),
  'monitoring.coreos.com/v1/PodMonitor': custom('prometheus-operator', 'monitoring.coreos.com/v1'),
  'monitoring.coreos.com/v1/PrometheusRule': custom('prometheus-operator', 'monitoring.coreos.com/v1'),
  'cert-manager.io/v1/Certificate': custom('cert-manager', 'cert-manager.io/v1'),
  'external-secrets.io/v1/ExternalSecret': custom('external-secrets', 'external-secrets.io/v1'),
  'postgresql.cnpg.io/v1/Cluster': { module: '@cdk8s-kit/crds/pg', type: 'ClusterProps', bare: true },
}
for (const kind of ['Exchange', 'Queue', 'Binding', 'User', 'Permission'])
  KINDS[`rabbitmq.com/v1beta1/${kind}`] = { module: './rabbitmq' }
KINDS['rabbitmq.com/v1beta1/RabbitmqCluster'] = { module: './rabbitmq' }

async function againstSchema(entry, object) {
  if (!entry.schema) return []
  const model = (await import(entry.module))[object.kind]
  try {
    new model(object).validate()
    return []
  } catch (error) {
    return [error.message]
  }
}

// The literals go to a file, for only of a literal does the compiler know every field.
function compile(literals) {
  const folder = new URL('build/', import.meta.url).pathname
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}objects.ts`, "import type { Plain } from '../plain.ts'\n" + literals.map(({ entry, object, where }, i) => {
    const type = entry.type ?? `I${object.kind}`
    const { apiVersion, kind, ...bare } = object
    const module = entry.module.startsWith('./') ? `../rabbitmq.ts` : entry.module
    return `import type { ${type} as T${i} } from '${module}' // ${where}\n` +
      `export const o${i}: ${entry.bare ? `Plain<T${i}>` : `T${i}`} = ${JSON.stringify(entry.bare ? bare : object)}\n`
  }).join(''))
  try {
    execFileSync('node_modules/.bin/tsc', ['--noEmit', '--strict', '--skipLibCheck', '--module', 'esnext', '--moduleResolution', 'bundler',
      '--allowImportingTsExtensions', '--types', '', `${folder}objects.ts`], { cwd: new URL('.', import.meta.url).pathname, encoding: 'utf8', stdio: 'pipe' })
    return []
  } catch (error) {
    const where = (line) => literals[Math.floor((Number(/\((\d+),/.exec(line)?.[1] ?? 1) - 2) / 2)]?.where
    return error.stdout.split('\n').filter((line) => line.includes('error TS')).map((line) => `${where(line)}: ${line.replace(/^.*error /, '')}`)
  }
}

// [{overlay, objects}] -> faults
export async function schemaFaults(rendered) {
  const faults = [], literals = new Map()
  for (const { overlay, objects } of rendered)
    for (const object of objects) {
      const where = `${overlay}: ${named(object)}`
      const entry = KINDS[`${object.apiVersion}/${object.kind}`]
      if (!entry) { faults.push(`${where}: no schema is known for ${object.apiVersion}`); continue }
      literals.set(JSON.stringify(object), { entry, object, where })
    }
  for (const { entry, object, where } of literals.values())
    for (const fault of await againstSchema(entry, object)) faults.push(`${where}: ${fault}`)
  return faults.concat(compile([...literals.values()]))
}
