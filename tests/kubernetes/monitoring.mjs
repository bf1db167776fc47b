// Alerts and dashboard: their expressions parse, name metrics that the code has, and lead to a heading of the operations
// guide; the alerts fire when they should (alerts.test.yaml); those of compose/ are the same.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parse, stringify } from 'yaml'
import { root } from './render.mjs'

const read = (path) => readFileSync(`${root}${path}`, 'utf8')
const metrics = () => new Set(execFileSync('git', ['-C', root, 'grep', '-hoE', '"(ledger|process)_[a-z_]+"', '--', '*.c'], { encoding: 'utf8' })
  .split('\n').map((name) => name.slice(1, -1)))
const anchor = (heading) => heading.toLowerCase().replace(/[^a-z0-9 -]/g, '').replaceAll(' ', '-')

function promtool(...args) {
  try {
    execFileSync('promtool', args, { stdio: 'pipe', cwd: new URL('.', import.meta.url).pathname })
    return []
  } catch (error) {
    return [`promtool ${args.slice(0, 2).join(' ')}: ${error.stdout}${error.stderr ?? error.message}`]
  }
}

export function monitoringFaults() {
  const folder = new URL('build/', import.meta.url).pathname
  mkdirSync(folder, { recursive: true })
  const rules = parse(read('k8s/components/monitoring/alerts.yaml')).spec
  const dashboard = JSON.parse(read('k8s/components/monitoring/ledger.json'))
  const alerts = rules.groups.flatMap((group) => group.rules)
  const faults = []
  if (stringify(parse(read('compose/alerts.yaml'))) !== stringify(rules)) faults.push('compose/alerts.yaml is not what k8s/components/monitoring/alerts.yaml says')

  const headings = new Set([...read('docs/operations.md').matchAll(/^#+ (.*)$/gm)].map((match) => anchor(match[1])))
  const shards = /^LEDGER_SHARDS=(\d+)$/m.exec(read('k8s/base/settings.env'))[1]
  for (const rule of alerts) {
    if (!headings.has(rule.annotations.runbook.split('#')[1])) faults.push(`${rule.alert}: no heading ${rule.annotations.runbook}`)
    if (rule.expr.includes('ledger_shards_owned)') && rule.expr.includes('<') && !rule.expr.includes(`< ${shards}`)) faults.push(`${rule.alert}: LEDGER_SHARDS is ${shards}`)
  }
  const shown = dashboard.panels.flatMap((panel) => panel.targets ?? []).map((target) => target.expr.replaceAll('$__rate_interval', '5m'))
  const variables = dashboard.templating.list.flatMap((one) => one.definition ?? [])
  const known = metrics()
  for (const expression of [...alerts.map((rule) => rule.expr), ...shown, ...variables])
    for (const [name] of expression.matchAll(/\b(ledger|process)_[a-z_]+/g))
      if (!known.has(name) && !known.has(name.replace(/_(bucket|sum|count)$/, ''))) faults.push(`no code has a metric ${name}: ${expression}`)
  writeFileSync(`${folder}dashboard.yaml`, stringify({ groups: [{ name: 'dashboard', rules: shown.map((expr, i) => ({ record: `panel:${i}`, expr })) }] }))
  writeFileSync(`${folder}alerts.yaml`, stringify(rules))
  return faults.concat(promtool('check', 'rules', '--lint=all', '--lint-fatal', 'build/alerts.yaml'), promtool('check', 'rules', 'build/dashboard.yaml'),
    promtool('test', 'rules', 'alerts.test.yaml'), tested(alerts))
}

// Each alert is in a test that sees it fire, and in one that sees it silent.
function tested(alerts) {
  const cases = parse(read('tests/kubernetes/alerts.test.yaml')).tests.flatMap((one) => one.alert_rule_test ?? [])
  return alerts.flatMap(({ alert }) => {
    const of = cases.filter((one) => one.alertname === alert)
    return of.some((one) => one.exp_alerts?.length > 0) && of.some((one) => !(one.exp_alerts?.length > 0)) ? [] : [`${alert}: alerts.test.yaml does not show it fire and keep silent`]
  })
}
