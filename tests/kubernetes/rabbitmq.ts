// RabbitMQ's operators publish no types; these are the fields used here, as their documentation has them. A field that is
// not here is refused, so what is added to k8s/ has to be looked up and added here.
interface Meta { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> }
interface Object<Kind extends string, Spec> { apiVersion: 'rabbitmq.com/v1beta1'; kind: Kind; metadata: Meta; spec: Spec }
interface Reference { name: string; namespace?: string }
interface OfCluster { rabbitmqClusterReference: Reference; deletionPolicy?: 'delete' | 'retain' }
type Arguments = Record<string, string | number | boolean>

export type IExchange = Object<'Exchange', OfCluster & {
  name: string; vhost?: string; type?: string; durable?: boolean; autoDelete?: boolean; arguments?: Arguments }>
export type IQueue = Object<'Queue', OfCluster & {
  name: string; vhost?: string; type?: 'quorum' | 'classic' | 'stream'; durable?: boolean; autoDelete?: boolean; arguments?: Arguments }>
export type IBinding = Object<'Binding', { rabbitmqClusterReference: Reference
  vhost?: string; source: string; destination: string; destinationType: 'queue' | 'exchange'; routingKey?: string; arguments?: Arguments }>
export type IUser = Object<'User', OfCluster & { tags?: ('administrator' | 'management' | 'monitoring' | 'policymaker')[]; importCredentialsSecret?: Reference }>
export type IPermission = Object<'Permission', { rabbitmqClusterReference: Reference
  vhost: string; user?: string; userReference?: Reference; permissions: { configure?: string; write?: string; read?: string } }>
export type IRabbitmqCluster = Object<'RabbitmqCluster', {
  replicas: number; image?: string; persistence?: { storage: string; storageClassName?: string }
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> }
  tls?: { secretName?: string; caSecretName?: string; disableNonTLSListeners?: boolean }
  rabbitmq?: { additionalPlugins?: string[]; additionalConfig?: string; advancedConfig?: string; envConfig?: string } }>
