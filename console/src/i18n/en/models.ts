export default {
  title: 'Models',
  new: 'New training',
  search: 'Search by name',
  status: 'Status',
  allStatuses: 'All statuses',
  plugin: 'Plugin',
  allPlugins: 'All plugins',
  column: { name: 'Name', status: 'Status', progress: 'Progress', metric: 'Last figure', plugin: 'Plugin', updated: 'Changed' },
  welcome: 'No model yet',
  welcomeWhy: 'A model is what an algorithm learns from your data. Choose an algorithm and data, and start the first training.',
}
