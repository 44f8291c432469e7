export default {
  title: 'compare',
}
