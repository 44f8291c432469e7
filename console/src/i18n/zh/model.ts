export default {
  title: 'model',
}
