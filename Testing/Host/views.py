"""2D and 3D views of the scene: Slicer's displayable managers, rendered without a window of their own."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_IN_3D = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
_IN_2D = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)


class _View:
    def __init__(self, width: int, height: int, factory, managers: tuple[str, ...], node):
        self.node = node
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetMultiSamples(0)
        self.window.SetSize(width, height)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetEnableRender(False)
        self.interactor.Initialize()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for manager in managers:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(self.renderer)
        self._managers.Initialize(factory, self.renderer)
        self._managers.SetMRMLDisplayableNode(node)
        #: Called when there is something new to see.
        self.changed = lambda *_: None
        self._managers.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.changed())

    def resize(self, width: int, height: int) -> None:
        """Take another size, in pixels."""
        self.window.SetSize(width, height)
        self.interactor.UpdateSize(width, height)

    def picture(self) -> np.ndarray:
        """What the view shows, ``(rows, columns, 3)`` uint8."""
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _slices = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1]


class ThreeDView(_View):
    """The 3D view."""

    def __init__(self, width: int = 640, height: int = 640, name: str = "1"):
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetMRMLScene(slicer.mrmlScene)
        slicer.app.applicationLogic().GetViewLogics().AddItem(self.logic)
        node = self.logic.AddViewNode(name)
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        super().__init__(width, height, slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), _IN_3D, node)
        self.renderer.SetUseDepthPeeling(True)
        self.window.SetAlphaBitPlanes(True)
        style = slicer.vtkMRMLThreeDViewInteractorStyle()
        style.SetDisplayableManagers(self._managers)
        style.SetInteractor(self.interactor)
        self._style = style

    def picture(self) -> np.ndarray:
        self.renderer.ResetCameraClippingRange()
        return super().picture()


class SliceView(_View):
    """A slice view; Slicer calls its three Red (axial), Yellow (sagittal) and Green (coronal)."""

    def __init__(self, width: int = 640, height: int = 640, name: str = "Green"):
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetMRMLScene(slicer.mrmlScene)
        slicer.app.applicationLogic().GetSliceLogics().AddItem(self.logic)
        node = self.logic.AddSliceNode(name)
        self.logic.ResizeSliceNode(width, height)
        super().__init__(width, height, slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), _IN_2D, node)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.changed())
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()

    def resize(self, width: int, height: int) -> None:
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def picture(self) -> np.ndarray:
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        if connection and not self.renderer.HasViewProp(self._image):
            self.renderer.AddViewProp(self._image)
        elif not connection:
            self.renderer.RemoveViewProp(self._image)
        return super().picture()
