"""Static 3D shapes: packed files, folders of clouds and meshes, public archives."""
