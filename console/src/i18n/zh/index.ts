import type en from '../en'
import type { Words } from '../en'
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

const zh: Words<typeof en> = { common, models, model, fields, train, data, plugins, compare, sweeps, operation }
export default zh
