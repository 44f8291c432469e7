export default {
  title: 'train',
}
