// The Pod Security Standard "restricted", rule by rule (the rules of baseline are part of it), and the habits beyond it
// that this project keeps. Each rule takes a pod's template and says what is wrong, or nothing.
const containers = (pod) => [...(pod.spec.initContainers ?? []), ...(pod.spec.containers ?? []), ...(pod.spec.ephemeralContainers ?? [])]
const each = (pod, wrong) => containers(pod).filter(wrong).map((one) => `container ${one.name}`)
const all = (pod, wrong) => [...(wrong(pod.spec.securityContext ?? {}) ? ['the pod'] : []), ...each(pod, (one) => wrong(one.securityContext ?? {}))]
const VOLUMES = ['configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'persistentVolumeClaim', 'projected', 'secret']
const SYSCTLS = ['kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range', 'net.ipv4.ip_unprivileged_port_start', 'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range', 'net.ipv4.ip_local_reserved_ports', 'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl', 'net.ipv4.tcp_keepalive_probes']
const SELINUX = ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t']

export const STANDARD = {
  'host processes': (pod) => all(pod, (one) => one.windowsOptions?.hostProcess),
  'host namespaces': (pod) => ['hostNetwork', 'hostPID', 'hostIPC'].filter((name) => pod.spec[name]),
  'privileged containers': (pod) => each(pod, (one) => one.securityContext?.privileged),
  'volume types': (pod) => (pod.spec.volumes ?? []).filter((volume) =>
    Object.keys(volume).some((key) => key !== 'name' && !VOLUMES.includes(key))).map((volume) => `volume ${volume.name}`),
  'host ports': (pod) => each(pod, (one) => (one.ports ?? []).some((port) => port.hostPort)),
  'AppArmor': (pod) => [...all(pod, (one) => one.appArmorProfile && !['RuntimeDefault', 'Localhost'].includes(one.appArmorProfile.type)),
    ...Object.entries(pod.metadata?.annotations ?? {}).filter(([name, value]) => name.startsWith('container.apparmor.security.beta.kubernetes.io/') &&
      !/^(runtime\/default|localhost\/.*)$/.test(value)).map(([name]) => name)],
  'SELinux': (pod) => all(pod, (one) => one.seLinuxOptions && (!SELINUX.includes(one.seLinuxOptions.type ?? '') || one.seLinuxOptions.user || one.seLinuxOptions.role)),
  '/proc mount type': (pod) => each(pod, (one) => ![undefined, 'Default'].includes(one.securityContext?.procMount)),
  'sysctls': (pod) => (pod.spec.securityContext?.sysctls ?? []).filter((one) => !SYSCTLS.includes(one.name)).map((one) => one.name),
  'privilege escalation': (pod) => each(pod, (one) => one.securityContext?.allowPrivilegeEscalation !== false),
  'running as non-root': (pod) => [...all(pod, (one) => one.runAsNonRoot === false),
    ...each(pod, (one) => one.securityContext?.runAsNonRoot === undefined && pod.spec.securityContext?.runAsNonRoot !== true)],
  'running as non-root user': (pod) => all(pod, (one) => one.runAsUser === 0),
  'seccomp': (pod) => {
    const fine = (profile) => ['RuntimeDefault', 'Localhost'].includes(profile?.type)
    return [...all(pod, (one) => one.seccompProfile && !fine(one.seccompProfile)),
      ...each(pod, (one) => !one.securityContext?.seccompProfile && !fine(pod.spec.securityContext?.seccompProfile))]
  },
  'capabilities': (pod) => each(pod, (one) => !(one.securityContext?.capabilities?.drop ?? []).includes('ALL') ||
    (one.securityContext.capabilities.add ?? []).some((name) => name !== 'NET_BIND_SERVICE')),
}

export const HABITS = {
  'a read-only root': (pod) => each(pod, (one) => one.securityContext?.readOnlyRootFilesystem !== true),
  'a user by number, over 0': (pod) => each(pod, (one) => !((one.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser) > 0)),
  'no token': (pod) => (pod.spec.automountServiceAccountToken === false ? [] : ['the pod']),
  'no capability added': (pod) => each(pod, (one) => (one.securityContext?.capabilities?.add ?? []).length > 0),
  'a pinned image': (pod) => each(pod, (one) => !/(:[^/:]*\d[^/:]*|@sha256:[0-9a-f]{64})$/.test(one.image) || one.image.endsWith(':latest')),
  'requests and limits': (pod) => each(pod, (one) => ['requests', 'limits'].some((kind) =>
    ['cpu', 'memory'].some((what) => !one.resources?.[kind]?.[what]))),
  'no secret in the environment of a process of the ledger': (pod) => each(pod, (one) => one.name === 'ledger' &&
    ((one.env ?? []).some((entry) => entry.valueFrom?.secretKeyRef) || (one.envFrom ?? []).some((entry) => entry.secretRef))),
}

export function podFaults(pod, rules) {
  return Object.entries(rules).flatMap(([rule, find]) => find(pod).map((where) => `${rule}: ${where}`))
}
