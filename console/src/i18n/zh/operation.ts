export default {
  title: 'operation',
}
