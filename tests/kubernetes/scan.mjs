// A policy scanner of others (Monokle): its Pod Security Standards and its practices. It rates no rule; all count.
import { createDefaultMonokleValidator } from '@monokle/validation'
import { stringify } from 'yaml'
import { named } from './render.mjs'

// What it says of what is meant as it is.
const MEANT = [
  /^Deployment (postgres|rabbitmq|redis) KBP10[45] /, // the users that these images have
]

export async function scanFaults(rendered) {
  const faults = new Set()
  for (const { overlay, objects } of rendered) {
    const validator = createDefaultMonokleValidator()
    await validator.preload({ plugins: { 'pod-security-standards': true, practices: true, 'yaml-syntax': true, 'resource-links': false } })
    const resources = objects.map((object, i) => ({
      id: String(i), fileId: String(i), filePath: `${i}.yaml`, fileOffset: 0, name: object.metadata.name, apiVersion: object.apiVersion,
      kind: object.kind, namespace: object.metadata.namespace, content: object, text: stringify(object),
    }))
    const { runs } = await validator.validate({ resources })
    for (const run of runs)
      for (const result of run.results ?? []) {
        const at = result.locations?.find((location) => location.physicalLocation?.artifactLocation?.uri?.match(/^\d+\.yaml$/))?.physicalLocation.artifactLocation.uri
        const object = objects[Number.parseInt(at, 10)]
        const text = `${result.ruleId} ${result.message.text}`
        if (!MEANT.some((meant) => meant.test(`${object ? named(object) : ''} ${text}`))) faults.add(`${overlay}: ${object ? named(object) : '?'}: ${text}`)
      }
  }
  return [...faults]
}
