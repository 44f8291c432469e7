export default {
  title: 'data',
}
