export default {
  title: '模型',
  new: '新建训练',
  search: '按名称搜索',
  status: '状态',
  allStatuses: '全部状态',
  plugin: '插件',
  allPlugins: '全部插件',
  column: { name: '名称', status: '状态', progress: '进度', metric: '最新指标', plugin: '插件', updated: '更新时间' },
  welcome: '还没有模型',
  welcomeWhy: '模型是算法从您的数据中学到的结果。选择算法和数据，开始第一次训练。',
}
