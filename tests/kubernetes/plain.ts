// A type of cdk8s as its object is written in YAML: enumerations by their values, and a class that wraps a number or a
// string (a quantity) as what it wraps.
type Wrapped = { readonly value: number | string | any }
export type Plain<T> = T extends string ? `${T}` : T extends Date | number | boolean | undefined ? T : T extends readonly (infer Item)[] ? Plain<Item>[]
  : T extends Wrapped ? (keyof T extends 'value' ? string | number : { [Key in keyof T]: Plain<T[Key]> }) : { [Key in keyof T]: Plain<T[Key]> }
