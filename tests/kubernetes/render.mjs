// The overlays as kubectl renders them, object by object.
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { parseAllDocuments } from 'yaml'

export const root = new URL('../../', import.meta.url).pathname
export const overlays = readdirSync(`${root}k8s/overlays`).sort()

export function render(overlay) {
  const text = execFileSync('kubectl', ['kustomize', `${root}k8s/overlays/${overlay}`], { encoding: 'utf8' })
  return parseAllDocuments(text).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]
    return document.toJS()
  })
}

export const named = (object) => `${object.kind} ${object.metadata.name}`
export const podOf = (object) => (['Deployment', 'Job'].includes(object.kind) ? object.spec.template : undefined)
