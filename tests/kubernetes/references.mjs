// That the objects of an overlay fit each other, and the programs that they start.
import { existsSync, readFileSync } from 'node:fs'
import { named, podOf, root } from './render.mjs'

// Made by hand or by an operator of the cluster, as docs/kubernetes.md says.
const OUTSIDE = { dev: ['ledger-notary'] }
const MAINS = { 'ledger-worker': 'worker', 'ledger-relay': 'outbox', 'ledger-notary': 'notary', 'ledger-gateway': 'gateway', 'ledger-webhooks': 'webhooks' }

const matches = (selector, labels = {}) =>
  Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
  (selector?.matchExpressions ?? []).every(({ key, operator, values }) => operator === 'In' && values.includes(labels[key]))

// What of the environment a program takes; undefined for one that is not here, and for ledgerctl, which is no process.
function settingsOf(program) {
  const file = `${root}${MAINS[program]}/main.c`
  if (!MAINS[program] || !existsSync(file)) return undefined
  return new Set([...readFileSync(file, 'utf8').matchAll(/^ *\{"(LEDGER_[A-Z0-9_]+)"/gm)].map((match) => match[1]))
}

const everySetting = new Set(Object.keys(MAINS).flatMap((program) => [...(settingsOf(program) ?? [])]))

function podReferences(object, known, fault) {
  const { spec, metadata } = podOf(object)
  const has = (kind, name) => known.has(`${kind} ${name}`) || fault(`there is no ${kind} ${name}`)
  if (spec.serviceAccountName) has('ServiceAccount', spec.serviceAccountName)
  for (const volume of spec.volumes ?? []) {
    if (volume.secret) has('Secret', volume.secret.secretName)
    if (volume.configMap) has('ConfigMap', volume.configMap.name)
  }
  for (const one of spec.containers) {
    for (const { configMapRef } of one.envFrom ?? []) has('ConfigMap', configMapRef.name)
    for (const mount of one.volumeMounts ?? [])
      if (!(spec.volumes ?? []).some((volume) => volume.name === mount.name)) fault(`there is no volume ${mount.name}`)
    for (const name of (one.volumeMounts ?? []).map((mount) => mount.mountPath).filter((path, i, all) => all.indexOf(path) !== i)) fault(`two mounts at ${name}`)
  }
  if (object.spec.selector && !matches(object.spec.selector, metadata.labels)) fault('its selector does not select its pods')
  for (const constraint of spec.topologySpreadConstraints ?? [])
    if (!matches(constraint.labelSelector, metadata.labels)) fault('a topology constraint selects other pods')
}

// A file that a setting names must be a key of the Secret that is mounted there.
function settings(object, known, shared, fault) {
  const { spec } = podOf(object)
  for (const one of spec.containers.filter((container) => container.name === 'ledger')) {
    const program = one.args?.[0], takes = settingsOf(program)
    const secret = known.get(`Secret ${spec.volumes.find((volume) => volume.name === 'secrets').secret.secretName}`)
    for (const { name, value } of one.env ?? []) {
      if (takes && !everySetting.has(name.replace(/_FILE$/, ''))) fault(`no program has a setting ${name}`)
      const file = /^\/etc\/ledger\/secrets\/(.+)$/.exec(value)?.[1]
      if (name.endsWith('_FILE') && !file) fault(`${name} names no file of its secrets`)
      if (file && secret && !secret.includes(file)) fault(`its Secret has no ${file}`)
    }
  }
  for (const name of shared) if (!everySetting.has(name)) fault(`no program has a setting ${name}`)
}

function probes(object, fault) {
  if (object.kind !== 'Deployment' || object.metadata.labels['app.kubernetes.io/name'] !== 'ledger') return
  const { spec } = podOf(object), one = spec.containers[0]
  const path = (probe) => one[probe]?.httpGet?.path
  if (path('livenessProbe') !== '/health/live') fault('liveness must not depend on a server')
  if (path('startupProbe') !== '/health/live') fault('it has no startup probe')
  if (path('readinessProbe') !== '/health/ready') fault('readiness must depend on its servers')
  if (!(spec.terminationGracePeriodSeconds >= 30)) fault('it is given less time to leave than the longest batch may take')
  const { maxUnavailable, maxSurge } = object.spec.strategy.rollingUpdate
  if (maxUnavailable !== 0 || maxSurge !== 1) fault('the new one must be ready before the old one goes')
}

function keysOf(object) {
  if (object.kind === 'ExternalSecret') return object.spec.data.map((entry) => entry.secretKey)
  return Object.keys({ ...object.data, ...object.stringData })
}

export function referenceFaults(overlay, objects) {
  const faults = [], known = new Map()
  for (const object of objects) {
    if (known.has(named(object)) && object.kind !== 'NetworkPolicy') faults.push(`${overlay}: two of ${named(object)}`)
    known.set(named(object), keysOf(object))
    if (object.kind === 'ExternalSecret') known.set(`Secret ${object.spec.target.name}`, keysOf(object))
    if (object.kind === 'Certificate') known.set(`Secret ${object.spec.secretName}`, ['tls.crt', 'tls.key'])
  }
  for (const name of OUTSIDE[overlay] ?? []) known.set(`Secret ${name}`, undefined)
  const pods = objects.filter(podOf)
  const shared = Object.keys(objects.find((one) => one.kind === 'ConfigMap' && one.metadata.name.startsWith('ledger-settings')).data)
  const scaled = new Set()
  for (const object of objects) {
    const fault = (text) => faults.push(`${overlay}: ${named(object)}: ${text}`)
    const selects = (selector) => pods.some((one) => matches(selector, podOf(one).metadata.labels)) || fault('it selects no pod')
    if (podOf(object)) {
      podReferences(object, known, fault)
      probes(object, fault)
      if (podOf(object).metadata.labels['app.kubernetes.io/name'] === 'ledger') settings(object, known, shared, fault)
    }
    if (object.kind === 'Service') selects({ matchLabels: object.spec.selector })
    if (object.kind === 'PodDisruptionBudget') selects(object.spec.selector)
    if (object.kind === 'PodMonitor' && !object.spec.selector.matchLabels['cnpg.io/cluster']) selects(object.spec.selector)
    if (['HorizontalPodAutoscaler', 'ScaledObject'].includes(object.kind)) {
      const target = objects.find((one) => one.kind === 'Deployment' && one.metadata.name === object.spec.scaleTargetRef.name)
      if (!target) fault('it scales nothing')
      else if (target.spec.replicas !== undefined) fault('what it scales must not say replicas')
      if (scaled.has(target)) fault('two scale the same')
      scaled.add(target)
    }
    for (const rule of object.kind === 'Ingress' ? object.spec.rules : [])
      for (const { path, backend } of rule.http.paths) {
        if (!known.has(`Service ${backend.service.name}`)) fault(`there is no Service ${backend.service.name}`)
        if (/^\/(metrics|health)?$/.test(path)) fault(`${path} must stay inside`)
      }
  }
  for (const one of pods.filter((pod) => pod.kind === 'Deployment' && pod.metadata.labels['app.kubernetes.io/name'] === 'ledger'))
    if (!objects.some((other) => other.kind === 'PodDisruptionBudget' && matches(other.spec.selector, podOf(one).metadata.labels)))
      faults.push(`${overlay}: ${named(one)}: no PodDisruptionBudget covers it`)
  if (!objects.some((one) => one.kind === 'NetworkPolicy' && Object.keys(one.spec.podSelector).length === 0 && one.spec.policyTypes.length === 2 && !one.spec.ingress && !one.spec.egress))
    faults.push(`${overlay}: no NetworkPolicy denies by default`)
  return faults
}
