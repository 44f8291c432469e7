import common from './common'
import models from './models'
import model from './model'
import fields from './fields'
import train from './train'
import data from './data'
import plugins from './plugins'
import compare from './compare'
import sweeps from './sweeps'
import operation from './operation'

const en = { common, models, model, fields, train, data, plugins, compare, sweeps, operation }
export default en

/** The same keys with other words. */
export type Words<T> = { [Key in keyof T]: T[Key] extends string ? string : Words<T[Key]> }
