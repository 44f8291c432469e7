export default {
  title: 'plugins',
}
