"""What a model is for, measured: from a picture to a tensor, from outputs to boxes or classes, from these to AP50.

truth, labels            what people saw in the pictures, and the files that say it
archive                  a sample of pictures with their labels as one file
pictures, preprocess     a picture as the tensor that a model takes
families, yolo, …        what a model's outputs mean; other packages add families by the entry point `trtreg.tasks`
matching, precision, …   the figures: AP in YOLOv5's own way and in COCO's, top-1 and top-5, agreement of two engines
evaluation               all of it over a folder of pictures
"""
