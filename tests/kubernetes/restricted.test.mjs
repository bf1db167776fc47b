// Each rule of restricted.mjs is silent on a good pod and speaks on one that breaks it, and no other does.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HABITS, STANDARD, podFaults } from './restricted.mjs'

const good = () => ({
  metadata: {},
  spec: {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
    volumes: [{ name: 'v', emptyDir: {} }],
    containers: [{
      name: 'ledger', image: 'ledger:1.0.0',
      securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      resources: { requests: { cpu: '1', memory: '1' }, limits: { cpu: '1', memory: '1' } },
    }],
  },
})
const BREAK = {
  'host processes': [(pod, one) => { one.securityContext.windowsOptions = { hostProcess: true } }, (pod) => { pod.spec.securityContext.windowsOptions = { hostProcess: true } }],
  'host namespaces': ['hostNetwork', 'hostPID', 'hostIPC'].map((name) => (pod) => { pod.spec[name] = true }),
  'privileged containers': [(pod, one) => { one.securityContext.privileged = true }, (pod, one) => {
    pod.spec.initContainers = [{ ...structuredClone(one), name: 'first' }]; pod.spec.initContainers[0].securityContext.privileged = true }],
  'volume types': [(pod) => { pod.spec.volumes = [{ name: 'v', hostPath: { path: '/' } }] }, (pod) => { pod.spec.volumes.push({ name: 'n', nfs: {} }) }],
  'host ports': [(pod, one) => { one.ports = [{ containerPort: 80, hostPort: 80 }] }],
  'AppArmor': [(pod, one) => { one.securityContext.appArmorProfile = { type: 'Unconfined' } },
    (pod) => { pod.metadata.annotations = { 'container.apparmor.security.beta.kubernetes.io/ledger': 'unconfined' } }],
  'SELinux': [(pod, one) => { one.securityContext.seLinuxOptions = { type: 'spc_t' } }, (pod) => { pod.spec.securityContext.seLinuxOptions = { role: 'r' } }],
  '/proc mount type': [(pod, one) => { one.securityContext.procMount = 'Unmasked' }],
  'sysctls': [(pod) => { pod.spec.securityContext.sysctls = [{ name: 'kernel.msgmax', value: '1' }] }],
  'privilege escalation': [(pod, one) => { delete one.securityContext.allowPrivilegeEscalation }, (pod, one) => { one.securityContext.allowPrivilegeEscalation = true }],
  'running as non-root': [(pod) => { delete pod.spec.securityContext.runAsNonRoot }, (pod, one) => { one.securityContext.runAsNonRoot = false }],
  'running as non-root user': [(pod) => { pod.spec.securityContext.runAsUser = 0; pod.spec.containers[0].securityContext.runAsUser = 1 }],
  'seccomp': [(pod) => { delete pod.spec.securityContext.seccompProfile }, (pod, one) => { one.securityContext.seccompProfile = { type: 'Unconfined' } }],
  'capabilities': [(pod, one) => { one.securityContext.capabilities.drop = ['NET_RAW'] }, (pod, one) => { delete one.securityContext.capabilities }],
  'a read-only root': [(pod, one) => { delete one.securityContext.readOnlyRootFilesystem }],
  'a user by number, over 0': [(pod) => { delete pod.spec.securityContext.runAsUser }],
  'no token': [(pod) => { delete pod.spec.automountServiceAccountToken }],
  'no capability added': [(pod, one) => { one.securityContext.capabilities.add = ['NET_BIND_SERVICE'] }],
  'a pinned image': ['ledger', 'ledger:latest', 'host:5000/ledger'].map((image) => (pod, one) => { one.image = image }),
  'requests and limits': [(pod, one) => { delete one.resources.limits.memory }, (pod, one) => { delete one.resources }],
  'no secret in the environment of a process of the ledger': [(pod, one) => { one.envFrom = [{ secretRef: { name: 's' } }] }],
}
const RULES = { ...STANDARD, ...HABITS }

test('a good pod has no fault', () => assert.deepEqual(podFaults(good(), RULES), []))
for (const rule of Object.keys(RULES))
  test(rule, () => {
    assert.ok(BREAK[rule], 'a pod that breaks it')
    for (const spoil of BREAK[rule]) {
      const pod = good()
      spoil(pod, pod.spec.containers[0])
      const broken = new Set(podFaults(pod, RULES).map((fault) => fault.split(': ')[0]))
      assert.deepEqual([...broken], [rule], spoil.toString())
    }
  })
